//! A broker at the other end of a network: slow, lossy, and cut.

use std::process::{Command, Stdio};
use std::time::Instant;

use serde_json::json;

use super::{Broker, node, send, wait_for_health};
use crate::support::DEADLINE;

/// Set for the run that has a network of its own.
const INSIDE: &str = "COMET_OWN_NETWORK";

/// Runs a command line; returns whether it succeeded.
fn sh(line: &str) -> bool {
    Command::new("sh").args(["-ec", line]).stderr(Stdio::null()).status().unwrap().success()
}

#[test]
fn a_network_that_is_slow_lossy_and_cut_is_survived() {
    if std::env::var_os(INSIDE).is_some() {
        return in_a_network_of_its_own();
    }
    if Broker::start(&[]).is_none() {
        return;
    }
    // Two networks, which end with the processes in them; nothing of the machine's is touched.
    let can = "unshare --net unshare --net true; ip -V >/dev/null; nsenter -V >/dev/null";
    if !sh(can) {
        println!("SKIPPED ip netns");
        return;
    }
    let name = "cluster::network::a_network_that_is_slow_lossy_and_cut_is_survived";
    let mut command = Command::new("unshare");
    command.arg("--net").arg(std::env::current_exe().unwrap()).args(["--exact", name]);
    let output = command.env(INSIDE, "1").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

fn in_a_network_of_its_own() {
    assert!(sh("ip link set lo up"));
    let broker = Broker::start_in_network().unwrap();
    let pid = broker.pid();
    assert!(sh(&format!(
        "ip link add here type veth peer name there netns {pid}
         ip addr add 10.0.0.1/24 dev here; ip link set here up
         nsenter --net --target {pid} ip addr add 10.0.0.2/24 dev there
         nsenter --net --target {pid} ip link set there up"
    )));
    let is_bad = sh("tc qdisc add dev here root netem delay 20ms 5ms loss 2%");
    if !is_bad {
        println!("SKIPPED netem");
    }
    let url = format!("redis://10.0.0.2:{}", broker.port);
    let [here, there] = [node(&url, &[]), node(&url, &[])];
    let mut clients: Vec<_> = (1..=20).map(|id| there.follow(&id.to_string())).collect();
    for (id, client) in (1..).zip(&mut clients) {
        let answer = send(&here, &format!("{id}?count=exact"), "far away");
        assert_eq!(answer, json!({ "connections": 1, "subscribers": 1, "exact": true }));
        client.expect_message(1, "far away");
    }
    assert!(sh("ip link set here down"));
    let cut_at = Instant::now();
    let why = wait_for_health(&there, 503);
    assert!(cut_at.elapsed() < super::RED_WITHIN, "{:?}: {why}", cut_at.elapsed());
    let (status, answer) = here.ask("POST", "/send/1", "", "lost");
    assert_eq!(status, 503, "{answer}");
    assert!(sh("ip link set here up"));
    wait_for_health(&here, 200);
    wait_for_health(&there, 200);
    let counts = there.wait_for_stats(|stats| stats["cluster"]["subscriptions"] == 20);
    assert_eq!(
        (&counts["cluster"]["gaps"], &counts["connections_parked"]),
        (&json!(1), &json!(20))
    );
    let deadline = Instant::now() + DEADLINE;
    for (id, client) in (1..).zip(&mut clients) {
        // The broker may count a connection that was cut for as long as it has not noticed.
        let answer = send(&here, &id.to_string(), "again");
        assert!(matches!(answer["subscribers"].as_u64(), Some(1 | 2)), "{answer}");
        // The first one may have been on its way when the network was cut.
        while !client.next_chunk().unwrap().contains("again") {
            assert!(Instant::now() < deadline);
        }
    }
}
