//! Which of several servers has an id.

/// The number of the server of `id` among `n_servers`: always the same, and neighbouring ids spread
/// over all of them. It is the id by `SplitMix64`'s mixing function, modulo the number of servers.
pub fn share_of(id: u64, n_servers: usize) -> usize {
    let mut mixed = id;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^= mixed >> 31;
    usize::try_from(mixed % n_servers as u64).expect("it is one of them")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_one_server_for_good_and_all_servers_get_their_part() {
        assert_eq!([1, 2, 3, 4, 5, 6, 7, 8].map(|id| share_of(id, 3)), [1, 1, 2, 2, 0, 1, 1, 1]);
        let mut n_by_server = [0; 7];
        (1..=70_000).for_each(|id| n_by_server[share_of(id, 7)] += 1);
        // 10,000 each with a standard deviation of 93.
        assert!(n_by_server.iter().all(|n| (9_600..10_400).contains(n)), "{n_by_server:?}");
    }
}
