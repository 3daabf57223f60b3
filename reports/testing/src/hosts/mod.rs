//! Hosts that ssh reaches, made for a test and gone with it.
//!
//! Each is a set of namespaces (network, processes, mounts, name) on this machine in which a real
//! sshd listens, at the end of a cable of its own to a switch. The switch is in a network that the
//! test makes as well, *here*: nothing of the machine's own network is touched, and nothing in it
//! reaches the hosts. A test runs programs here with [`Hosts::command`], or itself with
//! [`Hosts::within`].

mod space;
mod ssh;

use std::ffi::{OsStr, OsString};
use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use rustix::process::{Pid, Signal, geteuid, kill_process};
use tempfile::TempDir;

use self::space::Space;
pub use self::ssh::OTHER_PORT;
use self::ssh::{allow, find, write};
use crate::{skip, wait_until};

/// Hosts, numbered from 0 on.
#[derive(Debug)]
pub struct Hosts {
    /// Each of them.
    each: Vec<Host>,
    /// Where they are all plugged in.
    here: Space,
    /// Their files, which go last.
    dir: TempDir,
}

/// One host.
#[derive(Debug)]
struct Host {
    /// Its namespaces.
    space: Space,
    /// What it is called.
    name: String,
    /// Where it is reached.
    address: Ipv4Addr,
    /// Where its user lives, and its files are.
    home: PathBuf,
    /// The shell that keeps it, and the sshd that listens.
    kept: [u32; 2],
}

/// A process of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostProcess {
    /// Its number on this machine, by which it can be killed; on the host it has another one.
    pub pid: u32,
    /// Its program, of which the kernel keeps 15 characters.
    pub name: String,
    /// Its command line.
    pub line: String,
}

/// The address in front of that of each host, and that of the switch.
const NETWORK: [u8; 3] = [10, 77, 0];

/// The name of a host's end of its cable.
const LINK: &str = "eth0";

impl Hosts {
    /// Makes `n` hosts, which ssh knows as `h1`, `h2` and so on. `None`, after a word about it:
    /// that is not possible here.
    ///
    /// # Panics
    ///
    /// When something goes wrong that nobody foresaw, and where nothing may be left out
    /// ([`skip`]) when this has to be.
    #[track_caller]
    pub fn make(n: usize) -> Option<Self> {
        match Self::try_make(n) {
            Ok(hosts) => Some(hosts),
            Err(what) => {
                skip(what);
                None
            }
        }
    }

    /// Makes hosts. An error says what there is not.
    fn try_make(n: usize) -> Result<Self, &'static str> {
        if !geteuid().is_root() {
            return Err("root, for networks of a test's own");
        }
        for program in ["ip", "unshare", "nsenter"] {
            find(program).ok_or(program)?;
        }
        let (client, server) = (find("ssh").ok_or("ssh")?, find("sshd").ok_or("sshd")?);
        let dir = tempfile::tempdir().expect("a test has room for its files");
        if !ssh::make_keys(dir.path()) {
            return Err("ssh-keygen");
        }
        let address = address(1);
        let script = format!(
            "ip link set lo up
             ip link add switch type bridge
             ip addr add {address}/24 dev switch
             ip link set switch up
             echo made
             read -r end"
        );
        let here = Space::make(&["--net"], &script).ok_or("unshare --net")?;
        let mut hosts = Vec::new();
        for at in 0..n {
            hosts.push(Host::make(at, dir.path(), &server, &here).ok_or("unshare --mount")?);
        }
        let known: Vec<_> = hosts.iter().map(|it| (it.name.clone(), it.address)).collect();
        ssh::write_client(dir.path(), &client, &known);
        Ok(Self { each: hosts, here, dir })
    }

    /// The name of a host.
    pub fn name(&self, at: usize) -> &str {
        &self.each[at].name
    }

    /// The names of all, as a list with commas.
    pub fn names(&self) -> String {
        let names: Vec<&str> = self.each.iter().map(|host| host.name.as_str()).collect();
        names.join(",")
    }

    /// Where the hosts reach what listens here.
    pub fn here(&self) -> Ipv4Addr {
        address(1)
    }

    /// Where a host is reached.
    pub fn address(&self, at: usize) -> Ipv4Addr {
        self.each[at].address
    }

    /// Where the user of a host lives: what is written there is on the host.
    pub fn home(&self, at: usize) -> &Path {
        &self.each[at].home
    }

    /// A program here: in the network in which the hosts are, and with an ssh first on PATH that
    /// knows them. It is the process that is started: a signal to the one is a signal to the other.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = self.here.command_in_network();
        command.arg(program).env("PATH", self.path());
        command
    }

    /// PATH with that ssh, for a program that is started [`Hosts::within`].
    ///
    /// # Panics
    ///
    /// Where PATH cannot be put together.
    pub fn path(&self) -> OsString {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = [self.dir.path().join("bin")].into_iter().chain(std::env::split_paths(&path));
        std::env::join_paths(folders).expect("they were part of such a list")
    }

    /// Does something in the network in which the hosts are, in a thread of its own.
    ///
    /// # Panics
    ///
    /// When `it` does.
    pub fn within<T: Send>(&self, it: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let entered = scope.spawn(|| {
                self.here.enter_network();
                it()
            });
            entered.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// A program on a host, started without ssh: in all its namespaces, and with its PATH.
    pub fn command_on(&self, at: usize, program: impl AsRef<OsStr>) -> Command {
        let host = &self.each[at];
        let mut command = Command::new("nsenter");
        let target = host.kept[0].to_string();
        command.args(["--target", &target, "--net", "--pid", "--mount", "--uts", "--"]);
        command.arg(program).env("PATH", host.path()).env("HOME", &host.home);
        command
    }

    /// Puts a program on a host, under its own name.
    ///
    /// # Panics
    ///
    /// When it has one of that name already.
    pub fn put(&self, at: usize, program: &Path) {
        let name = program.file_name().expect("a program has a name");
        symlink(program, self.each[at].home.join("bin").join(name))
            .unwrap_or_else(|error| panic!("cannot put {} there: {error}", program.display()));
    }

    /// Puts a script of the shell on a host, in the place of what has its name.
    pub fn put_script(&self, at: usize, name: &str, script: &str) {
        let path = self.each[at].home.join("bin").join(name);
        // Written through a link, it would take the place of the program itself.
        let _ = fs::remove_file(&path);
        write(&path, &format!("#!/bin/sh\n{script}\n"), 0o755);
    }

    /// Takes a program from a host.
    pub fn remove(&self, at: usize, name: &str) {
        let removed = fs::remove_file(self.each[at].home.join("bin").join(name));
        removed.unwrap_or_else(|error| panic!("cannot remove {name}: {error}"));
    }

    /// Puts a program on a host for which time goes otherwise, as by `faketime -f`: `+0.2s
    /// x1.00005`. All clocks of the program are meant, the monotonic one too, as far as it asks the
    /// C library. False, after a word about it: there is no faketime.
    #[track_caller]
    pub fn put_with_other_time(&self, at: usize, program: &Path, time: &str) -> bool {
        let Some(faketime) = find("faketime") else {
            skip("faketime");
            return false;
        };
        let name = program.file_name().and_then(OsStr::to_str).expect("a program has a name");
        let (faketime, program) = (faketime.display(), program.display());
        self.put_script(at, name, &format!("exec {faketime} -f '{time}' {program} \"$@\""));
        true
    }

    /// What a shell on the host does first, for whoever comes by ssh: `.bashrc`.
    pub fn greet(&self, at: usize, script: &str) {
        write(&self.each[at].home.join(".bashrc"), &format!("{script}\n"), 0o644);
    }

    /// Lets nobody in any more.
    pub fn refuse(&self, at: usize) {
        allow(self.dir.path(), &self.each[at].home, false);
    }

    /// Delays all that goes to a host and comes from it, each by `time` as of `tc`: `5ms`. False,
    /// after a word about it: the kernel cannot. It is not one that can be installed.
    pub fn delay(&self, at: usize, time: &str) -> bool {
        let delayed = |space: &Space, link: &str| {
            space.ip(&format!("tc qdisc replace dev {link} root netem delay {time}")).is_ok()
        };
        let host = &self.each[at];
        let is_delayed = delayed(&self.here, &host.name) && delayed(&host.space, LINK);
        if !is_delayed {
            println!("SKIPPED netem");
        }
        is_delayed
    }

    /// Cuts the cable of a host: nobody is told, packets are gone.
    ///
    /// # Panics
    ///
    /// When there is no cable.
    pub fn cut(&self, at: usize) {
        self.set_link(at, "down");
    }

    /// Mends the cable of a host.
    ///
    /// # Panics
    ///
    /// When there is no cable.
    pub fn mend(&self, at: usize) {
        self.set_link(at, "up");
    }

    /// Sets the cable of a host up or down, at the switch.
    fn set_link(&self, at: usize, state: &str) {
        let set = self.here.ip(&format!("ip link set {} {state}", self.each[at].name));
        set.unwrap_or_else(|why| panic!("{why}"));
    }

    /// What runs on a host, but for the shell that keeps it and the sshd that listens: of ssh those
    /// are there that serve somebody.
    ///
    /// # Panics
    ///
    /// When the host is gone, as after process 1 was killed there.
    pub fn processes(&self, at: usize) -> Vec<HostProcess> {
        let host = &self.each[at];
        let space_of = |pid: u32| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
        let own = space_of(host.kept[0]);
        assert!(own.is_some(), "{} is gone", host.name);
        let pids = fs::read_dir("/proc").expect("there is a /proc");
        let pids = pids.filter_map(|it| it.ok()?.file_name().to_str()?.parse().ok());
        let is_meant = |pid: &u32| space_of(*pid) == own && !host.kept.contains(pid);
        pids.filter(is_meant).filter_map(HostProcess::of).collect()
    }

    /// Waits until a host is as quiet as at first.
    ///
    /// # Panics
    ///
    /// When something goes on there until the deadline.
    #[track_caller]
    pub fn wait_until_quiet(&self, at: usize) {
        let mut last = Vec::new();
        let name = self.name(at);
        wait_until(&format!("nothing is left on {name}"), || {
            last = self.processes(at);
            last.is_empty()
        });
    }

    /// Kills what is called `name` on a host, as `kill -9` does: how many there were.
    pub fn kill(&self, at: usize, name: &str) -> usize {
        let named = self.processes(at).into_iter().filter(|it| it.name == name);
        named.filter(|it| it.signal(Signal::KILL)).count()
    }

    /// What the sshd of a host has said, for the story of a test that fails.
    pub fn log(&self, at: usize) -> String {
        fs::read_to_string(self.each[at].home.join("sshd.log")).unwrap_or_default()
    }
}

impl Host {
    /// Makes host number `at`, and waits until its sshd listens.
    fn make(at: usize, dir: &Path, sshd: &Path, here: &Space) -> Option<Self> {
        let name = format!("h{}", at + 1);
        let last = u8::try_from(at + 2).expect("a test has fewer than 250 hosts");
        let address = address(last);
        let home = dir.join(&name);
        ssh::write_server(dir, &home, address);
        // The machine's /run and its shared memory are its own: sshd and faketime write there.
        let script = format!(
            "mount -t tmpfs -o mode=755 tmpfs /run
             mkdir /run/sshd
             mount -t tmpfs -o mode=1777 tmpfs /dev/shm
             mount --bind {home}/passwd /etc/passwd
             [ ! -e /etc/shadow ] || mount --bind {home}/shadow /etc/shadow
             hostname {name}
             ip link set lo up
             echo made
             read -r network
             {sshd} -D -E {home}/sshd.log -f {home}/sshd_config </dev/null >/dev/null 2>&1 &
             echo starts
             read -r end",
            home = home.display(),
            sshd = sshd.display(),
        );
        let kinds = ["--net", "--mount", "--uts", "--pid", "--mount-proc"];
        let mut space = Space::make(&kinds, &script)?;
        let pid = space.pid();
        let plugged = here.ip(&format!(
            "ip link add {name} type veth peer name {LINK} netns {pid}
             ip link set {name} master switch up"
        ));
        let set = plugged.and_then(|()| {
            space.ip(&format!("ip addr add {address}/24 dev {LINK}; ip link set {LINK} up"))
        });
        set.unwrap_or_else(|why| panic!("{why}"));
        assert!(space.next("starts"), "{name} did not start its sshd");
        wait_until(&format!("the sshd of {name} listens"), || {
            let log = fs::read_to_string(home.join("sshd.log")).unwrap_or_default();
            log.matches("Server listening").count() == 2
        });
        let shell = space.shell();
        let sshd = fs::read_to_string(format!("/proc/{shell}/task/{shell}/children"));
        let sshd = sshd.ok().and_then(|children| children.trim().parse().ok());
        let kept = [shell, sshd.expect("the shell has no other child")];
        Some(Self { space, name, address, home, kept })
    }

    /// Its PATH.
    fn path(&self) -> String {
        format!("{}/bin:/usr/local/bin:/usr/bin:/bin", self.home.display())
    }
}

impl HostProcess {
    /// The process with this number; `None` once it has ended.
    fn of(pid: u32) -> Option<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name stands in parentheses and may contain some.
        let (from, to) = (status.find('(')?, status.rfind(')')?);
        let name = status[from + 1..to].to_owned();
        let is_over = status[to + 1..].trim_start().starts_with(['Z', 'X']);
        let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let line = String::from_utf8_lossy(&line).replace('\0', " ").trim_end().to_owned();
        (!is_over).then_some(Self { pid, name, line })
    }

    /// Sends it a signal: whether it was there.
    pub fn signal(&self, signal: Signal) -> bool {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        pid.is_some_and(|pid| kill_process(pid, signal).is_ok())
    }
}

/// The address of which this is the last number.
fn address(last: u8) -> Ipv4Addr {
    let [a, b, c] = NETWORK;
    Ipv4Addr::new(a, b, c, last)
}

#[cfg(test)]
mod tests;
