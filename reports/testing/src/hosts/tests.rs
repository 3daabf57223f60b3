//! What a test may expect of its hosts.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use super::*;

/// Runs a command line on a host by ssh: whether it succeeded, and what it said.
fn ssh(hosts: &Hosts, host: &str, line: &str) -> (Option<i32>, String) {
    let output = hosts.command("ssh").args(["-T", host, line]).output().unwrap();
    let (said, told) = (String::from_utf8(output.stdout), String::from_utf8(output.stderr));
    (output.status.code(), said.unwrap() + &told.unwrap())
}

#[test]
fn ssh_reaches_each_host_by_its_name_and_finds_its_programs() {
    let Some(hosts) = Hosts::make(2) else { return };
    hosts.put_script(0, "whoami-there", "echo I am $(hostname), $1, $HOME");
    for at in 0..2 {
        let (name, home) = (hosts.name(at).to_owned(), hosts.home(at).display());
        let said = ssh(&hosts, &name, "whoami-there x");
        if at == 0 {
            assert_eq!(said, (Some(0), format!("I am {name}, x, {home}\n")), "{}", hosts.log(at));
        } else {
            assert_eq!(said.0, Some(127), "it is on the first one only: {}", said.1);
        }
        hosts.wait_until_quiet(at);
    }
    let other = OTHER_PORT.to_string();
    let output = hosts.command("ssh").args(["-p", &other, "root@h2", "hostname"]).output();
    assert_eq!(output.unwrap().stdout, b"h2\n");
    hosts.greet(1, "echo welcome");
    assert_eq!(ssh(&hosts, "h2", "hostname"), (Some(0), "welcome\nh2\n".to_owned()));
    hosts.refuse(1);
    let (code, told) = ssh(&hosts, "h2", "true");
    assert_eq!(code, Some(255));
    assert!(told.contains("Permission denied (publickey)"), "{told}");
    let (code, told) = ssh(&hosts, "nowhere", "true");
    assert_eq!(code, Some(255));
    assert!(told.contains("Could not resolve hostname nowhere"), "{told}");
}

#[test]
fn what_listens_here_is_reached_from_a_host_until_the_cable_is_cut() {
    let Some(hosts) = Hosts::make(1) else { return };
    let here = hosts.here();
    let listener = hosts.within(|| TcpListener::bind((here, 0)).unwrap());
    let port = listener.local_addr().unwrap().port();
    let say = format!("exec 3<>/dev/tcp/{here}/{port}; echo up >&3; read -r go <&3; echo on >&3");
    let mut there = hosts.command_on(0, "bash").args(["-c", &say]).spawn().unwrap();
    let (mut stream, peer) = listener.accept().unwrap();
    assert_eq!(peer.ip(), hosts.address(0));
    let mut word = [0; 3];
    stream.read_exact(&mut word).unwrap();
    assert_eq!(&word, b"up\n");
    hosts.cut(0);
    stream.write_all(b"go\n").unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    assert!(stream.read_exact(&mut word).is_err(), "nothing comes through a cut cable");
    hosts.mend(0);
    stream.set_read_timeout(Some(crate::DEADLINE)).unwrap();
    stream.read_exact(&mut word).unwrap();
    assert_eq!(&word, b"on\n");
    assert!(there.wait().unwrap().success());
}

#[test]
fn what_runs_on_a_host_is_seen_and_killed_and_what_was_left_by_its_parent_too() {
    let Some(hosts) = Hosts::make(1) else { return };
    let mut ssh = hosts.command("ssh");
    ssh.args(["-T", "h1", "setsid sleep 600 & exec sleep 601"]).stdin(Stdio::null());
    let mut ssh = ssh.spawn().unwrap();
    let sleeping = || {
        let is_one = |it: &HostProcess| it.line.starts_with("sleep 60");
        hosts.processes(0).into_iter().filter(is_one).count()
    };
    wait_until("both sleep", || sleeping() == 2);
    // Those who serve the session, and the session with them.
    assert!(hosts.kill(0, "sshd") > 0);
    assert!(!ssh.wait().unwrap().success());
    assert!(sleeping() >= 1, "one of them has nobody above it now");
    hosts.kill(0, "sleep");
    hosts.wait_until_quiet(0);
    assert!(hosts.command("ssh").args(["h1", "true"]).status().unwrap().success());
}

#[test]
fn hosts_end_with_the_test_and_with_its_panic() {
    let Some(hosts) = Hosts::make(2) else { return };
    let dir = hosts.dir.path().to_owned();
    let pids = [hosts.each[0].kept, hosts.each[1].kept].concat();
    let panicked = thread::spawn(move || {
        let _hosts = hosts;
        panic!("as a test does");
    });
    assert!(panicked.join().is_err());
    let is_there = |pid: &u32| Path::new(&format!("/proc/{pid}")).exists();
    wait_until("nothing is left", || !pids.iter().any(is_there) && !dir.exists());
}

#[test]
fn hosts_end_with_a_test_that_is_killed() {
    if std::env::var_os("TESTING_HOSTS_DIE").is_some() {
        let Some(hosts) = Hosts::make(1) else { return };
        println!("\nkept={:?}", hosts.each[0].kept);
        wait_until("the end", || false);
    }
    if Hosts::make(1).is_none() {
        return;
    }
    let mut test = Command::new(std::env::current_exe().unwrap());
    test.args(["hosts::tests::hosts_end_with_a_test_that_is_killed", "--exact", "--nocapture"]);
    let mut test = test.env("TESTING_HOSTS_DIE", "").stdout(Stdio::piped()).spawn().unwrap();
    let stdout = std::io::BufReader::new(test.stdout.take().unwrap());
    let line = std::io::BufRead::lines(stdout).map(Result::unwrap);
    let line = line.into_iter().find(|line| line.starts_with("kept=")).unwrap();
    let pids = line["kept=[".len()..].trim_end_matches(']').split(", ");
    let pids: Vec<u32> = pids.map(|pid| pid.parse().unwrap()).collect();
    let is_there = |pid: &u32| Path::new(&format!("/proc/{pid}")).exists();
    assert!(pids.iter().all(is_there));
    test.kill().unwrap();
    test.wait().unwrap();
    wait_until("nothing is left", || !pids.iter().any(is_there));
}

#[test]
fn time_goes_otherwise_for_a_program_that_is_to_have_another() {
    let Some(hosts) = Hosts::make(1) else { return };
    let date = find("date").unwrap();
    if !hosts.put_with_other_time(0, &date, "+1000s x1.00005") {
        return;
    }
    #[expect(clippy::disallowed_methods, reason = "it is what date shows")]
    let now = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let before = now();
    let (code, said) = ssh(&hosts, "h1", "date +%s");
    let there: u64 = said.trim().parse().unwrap();
    assert_eq!(code, Some(0));
    assert!((before + 1_000..=now() + 1_000).contains(&there), "{there} and {before}");
    hosts.wait_until_quiet(0);
}

#[test]
fn a_delay_is_there_both_ways_or_left_out() {
    let Some(hosts) = Hosts::make(1) else { return };
    if !hosts.delay(0, "20ms") {
        return;
    }
    let begun_at = std::time::Instant::now();
    assert_eq!(ssh(&hosts, "h1", "true").0, Some(0));
    assert!(begun_at.elapsed() > Duration::from_millis(80), "a session takes two ways and back");
}
