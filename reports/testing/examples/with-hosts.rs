//! Runs a command with hosts that ssh reaches as h1, h2 and so on, each a set of namespaces of its
//! own: `with-hosts N PROGRAM[=TIME],… COMMAND…`. Every host gets the program, for which time goes
//! as `faketime -f TIME` says if that is there; `with-hosts 2 floodtest,floodtest=+0.2s bash` gives
//! the second host another clock.

#![allow(clippy::print_stderr, reason = "it is a program")]

use std::env;
use std::path::Path;
use std::process::ExitCode;

use testing::hosts::Hosts;

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let [n, programs, command, args @ ..] = &args[..] else {
        eprintln!("with-hosts N PROGRAM[=TIME],… COMMAND…");
        return ExitCode::from(2);
    };
    let n = n.parse().expect("N is a number of hosts");
    let Some(hosts) = Hosts::make(n) else { return ExitCode::from(2) };
    for (at, program) in programs.split(',').cycle().take(n).enumerate() {
        match program.split_once('=') {
            Some((program, time)) => {
                let is_put = hosts.put_with_other_time(at, Path::new(program), time);
                assert!(is_put, "there is no faketime");
            }
            None => hosts.put(at, Path::new(program)),
        }
    }
    let status = hosts.command(command).args(args).status();
    let code = status.expect("the command can be started").code();
    // What a signal has ended has no code.
    ExitCode::from(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}
