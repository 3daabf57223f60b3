//! Connections with several ids, against a list of who follows what.

use super::{Follower, Random};
use crate::support::{Server, connections};

#[test]
fn many_logins_logouts_and_sends_reach_exactly_whom_they_should() {
    const N_IDS: u64 = 40;
    const N_STEPS: u64 = 3_000;
    let mut random = Random::seeded();
    let server = Server::start(&["--threads", "3"]);
    let mut door = server.door();
    let mut open: Vec<(Vec<u64>, Follower)> = Vec::new();
    let mut ended = Vec::new();
    let (mut n_messages, mut n_reached, mut n_void, mut n_logins) = (0, 0, 0, 0);
    for step in 0..N_STEPS {
        let id = 1 + random.below(N_IDS);
        let follows = |(ids, _): &&mut (Vec<u64>, Follower)| ids.contains(&id);
        match random.below(20) {
            0..3 => {
                let mut ids = vec![id];
                (0..random.below(6)).for_each(|_| ids.push(1 + random.below(N_IDS)));
                let path: Vec<_> = ids.iter().map(u64::to_string).collect();
                let by_frames = random.below(2) == 0;
                open.push((ids, Follower::follow(&server, &path.join(","), by_frames)));
                n_logins += 1;
            }
            3 => {
                let (status, answer) = door.ask("DELETE", &format!("/logins/{id}"), "");
                let leaving: Vec<_> = open.extract_if(.., |(ids, _)| ids.contains(&id)).collect();
                assert_eq!((status, connections(&answer)), (200, leaving.len() as u64));
                ended.extend(leaving.into_iter().map(|(_, follower)| follower));
            }
            4 => {
                let (status, answer) = door.ask("GET", &format!("/logins/{id}"), "");
                let n_following = open.iter_mut().filter(follows).count();
                assert_eq!((status, connections(&answer)), (200, n_following as u64));
            }
            _ => {
                let message = format!("message {step} to {id}");
                let mut n_expected = 0;
                for (_, follower) in open.iter_mut().filter(follows) {
                    follower.sent.push(message.clone());
                    n_expected += 1;
                }
                assert_eq!(door.send(id, &message), n_expected, "{message}");
                n_messages += 1;
                n_reached += n_expected;
                n_void += u64::from(n_expected == 0);
            }
        }
    }
    for follower in &mut ended {
        follower.expect_all();
        assert_eq!(follower.next(1000), None, "a logout ends with the last chunk");
    }
    for (_, follower) in &mut open {
        follower.expect_all();
    }
    let stats = server.wait_for_stats(|stats| stats["connections_parked"] == open.len() as u64);
    assert_eq!((&stats["messages"], &stats["messages_void"]), (&n_messages.into(), &n_void.into()));
    assert_eq!(
        (&stats["chunks_written"], &stats["connections_accepted"]),
        (&n_reached.into(), &n_logins.into())
    );
    let mut ids: Vec<_> = open.iter().flat_map(|(ids, _)| ids).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(stats["ids"], ids.len());
}
