//! Keys and settings of the ssh on both sides: none of them is the machine's own.

use std::fs::{self, Permissions};
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The key with which the tests come.
const KEY: &str = "key";

/// The key by which all hosts are known.
const HOST_KEY: &str = "host_key";

/// The second port on which hosts listen, for `user@host:port`.
pub const OTHER_PORT: u16 = 2222;

/// Makes both keys in `dir`. False: there is no ssh-keygen.
pub(super) fn make_keys(dir: &Path) -> bool {
    [KEY, HOST_KEY].iter().all(|name| {
        let mut keygen = Command::new("ssh-keygen");
        keygen.args(["-q", "-t", "ed25519", "-N", "", "-C", "test", "-f"]).arg(dir.join(name));
        keygen.status().is_ok_and(|status| status.success())
    })
}

/// Writes what the client needs to know of `hosts` into `dir`, and a script `ssh` into `dir/bin`
/// that uses nothing else.
pub(super) fn write_client(dir: &Path, real: &Path, hosts: &[(String, Ipv4Addr)]) {
    let there = dir.display();
    // Known by the name, whatever address and port it is reached at.
    let of_host = |(name, address): &(String, Ipv4Addr)| {
        format!("Host {name}\n  HostName {address}\n  HostKeyAlias {name}\n")
    };
    let mut config: Vec<String> = hosts.iter().map(of_host).collect();
    config.push(format!(
        "Host *\n  User root\n  IdentityFile {there}/{KEY}\n  IdentitiesOnly yes\n  \
         IdentityAgent none\n  UserKnownHostsFile {there}/known_hosts\n  \
         GlobalKnownHostsFile none\n  StrictHostKeyChecking yes\n"
    ));
    write(&dir.join("ssh_config"), &config.concat(), 0o600);
    let key = fs::read_to_string(dir.join(format!("{HOST_KEY}.pub"))).expect("it was just made");
    let known: Vec<String> = hosts.iter().map(|(name, _)| format!("{name} {key}")).collect();
    write(&dir.join("known_hosts"), &known.concat(), 0o600);
    fs::create_dir(dir.join("bin")).expect("the folder is new");
    let script = format!("#!/bin/sh\nexec {} -F {there}/ssh_config \"$@\"\n", real.display());
    write(&dir.join("bin/ssh"), &script, 0o755);
}

/// Writes what an sshd at `address` needs into `home`, which is in `dir`: there its users have
/// their homes and their programs.
pub(super) fn write_server(dir: &Path, home: &Path, address: Ipv4Addr) {
    let there = home.display();
    fs::create_dir_all(home.join("bin")).expect("the folder is new");
    fs::create_dir(home.join("tmp")).expect("the folder is new");
    let config = format!(
        "Port 22\nPort {OTHER_PORT}\nListenAddress {address}\nHostKey {keys}/{HOST_KEY}\n\
         AuthorizedKeysFile {there}/authorized_keys\nPidFile none\nStrictModes no\nUsePAM no\n\
         PasswordAuthentication no\nKbdInteractiveAuthentication no\n\
         PermitRootLogin prohibit-password\nMaxStartups 1000\nUseDNS no\n\
         SetEnv PATH={there}/bin:/usr/local/bin:/usr/bin:/bin TMPDIR={there}/tmp\n",
        keys = dir.display(),
    );
    write(&home.join("sshd_config"), &config, 0o600);
    allow(dir, home, true);
    // Users as on this machine, but for root, who lives here and may come whatever the machine says
    // of its password.
    let users = fs::read_to_string("/etc/passwd").expect("everybody may read it");
    let others = users.lines().filter(|line| !line.starts_with("root:"));
    let root = format!("root:x:0:0:root:{there}:/bin/bash");
    let users: Vec<&str> = [root.as_str()].into_iter().chain(others).collect();
    write(&home.join("passwd"), &(users.join("\n") + "\n"), 0o644);
    write(&home.join("shadow"), "root:*:19000:0:99999:7:::\nsshd:!:19000::::::\n", 0o600);
}

/// Lets the tests' key in at the host in `home`, or no key.
pub(super) fn allow(dir: &Path, home: &Path, is_allowed: bool) {
    let key = fs::read_to_string(dir.join(format!("{KEY}.pub"))).expect("it was made at first");
    let keys = if is_allowed { key } else { String::new() };
    write(&home.join("authorized_keys"), &keys, 0o600);
}

/// Writes a file with these permissions.
pub(super) fn write(path: &Path, text: &str, mode: u32) {
    let written = fs::write(path, text)
        .and_then(|()| fs::set_permissions(path, Permissions::from_mode(mode)));
    written.unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
}

/// Where a program is, in PATH or where Debian has what only root runs.
pub(super) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    folders.map(|folder| folder.join(program)).find(|path| path.is_file())
}
