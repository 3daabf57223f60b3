//! What the kernel spends on TCP, for the whole machine: both ends of a loopback connection, and
//! every other program's.

use std::fs;

/// The slab caches of TCP sockets: what grows with a connection, waits to become one, or has been
/// one. Files, directory entries and poll items are left out, since all else uses them too.
const TCP_CACHES: [&str; 8] = [
    "TCP",
    "TCPv6",
    "sock_inode_cache",
    "request_sock_TCP",
    "request_sock_TCPv6",
    "tw_sock_TCP",
    "tw_sock_TCPv6",
    "tcp_bind_bucket",
];

/// Memory in TCP buffers. `None` where `/proc/net/sockstat` cannot be read.
pub fn tcp_kb() -> Option<u64> {
    parse_sockstat(&fs::read_to_string("/proc/net/sockstat").ok()?, page_kb())
}

/// Memory in TCP socket objects. `None` where `/proc/slabinfo` cannot be read: only root may.
pub fn slab_kb() -> Option<u64> {
    parse_slabinfo(&fs::read_to_string("/proc/slabinfo").ok()?, page_kb())
}

/// KB in a page.
fn page_kb() -> u64 {
    u64::try_from(rustix::param::page_size() / 1024).unwrap_or(4)
}

/// The pages behind `mem` in the line of TCP, in KB.
fn parse_sockstat(text: &str, page_kb: u64) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("TCP:"))?;
    let mut words = line.split_whitespace().skip_while(|word| *word != "mem");
    Some(words.nth(1)?.parse::<u64>().ok()? * page_kb)
}

/// Slabs times pages of a slab of all TCP caches, in KB.
fn parse_slabinfo(text: &str, page_kb: u64) -> Option<u64> {
    let mut total = None;
    for line in text.lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        if !fields.first().is_some_and(|name| TCP_CACHES.contains(name)) {
            continue;
        }
        // name active_objs num_objs objsize objperslab pagesperslab : tunables a b c : slabdata
        // active_slabs num_slabs sharedavail
        let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
        let pages = number(5)? * number(14)?;
        total = Some(total.unwrap_or(0) + pages * page_kb);
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_counted_in_pages() {
        let text = "sockets: used 11\nTCP: inuse 1 orphan 0 tw 577 alloc 1 mem 55\nUDP: mem 9\n";
        assert_eq!(parse_sockstat(text, 4), Some(220));
        assert_eq!(parse_sockstat("UDP: mem 9\n", 4), None);
    }

    #[test]
    fn only_the_caches_of_tcp_are_summed() {
        let text = "slabinfo - version: 2.1\n# name <active_objs> ...\n\
            TCP 91 143 2368 13 8 : tunables 0 0 0 : slabdata 11 11 0\n\
            UDP 91 143 2368 13 8 : tunables 0 0 0 : slabdata 99 99 0\n\
            sock_inode_cache 209 228 832 19 4 : tunables 0 0 0 : slabdata 12 12 0\n";
        assert_eq!(parse_slabinfo(text, 4), Some((11 * 8 + 12 * 4) * 4));
        assert_eq!(parse_slabinfo("", 4), None);
    }

    #[test]
    fn this_machine_has_tcp_buffers() {
        assert!(tcp_kb().is_some());
    }
}
