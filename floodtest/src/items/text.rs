//! The text of an item, where items are looked into.

/// Bytes of an item that are kept to look into it. The items of language models are some hundred
/// bytes; one that is longer is counted, and not looked into.
const MAX_BYTES: usize = 64 * 1024;

/// What may stand before the first line of an event stream.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The text of an item as far as it has come: of an event its data, of anything else all of it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ItemText {
    /// Its bytes. Of an event also the beginning of the line that has not come whole.
    bytes: Vec<u8>,
    /// Where that line begins.
    line_at: usize,
    /// Whether the item is longer than can be kept.
    is_too_long: bool,
    /// Whether that line is.
    is_line_too_long: bool,
}

impl ItemText {
    /// Whether there is nothing of an item.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty() && !self.is_too_long && !self.is_line_too_long
    }

    /// Takes in more of the item.
    pub(super) fn push(&mut self, more: &[u8]) {
        self.is_too_long |= !self.append(more);
    }

    /// Takes in more of a line of an event; all of it, if `is_end`. A byte order mark may stand
    /// before the first line of a stream.
    pub(super) fn push_line(&mut self, more: &[u8], is_end: bool, is_first: bool) {
        self.is_line_too_long |= !self.append(more);
        if !is_end {
            return;
        }
        let line = &self.bytes[self.line_at..];
        let start =
            if is_first { line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line) } else { line };
        // What is not data is forgotten. A line `data` alone is empty data.
        let data = match start.strip_prefix(b"data") {
            Some(b"") => Some(start.len()..start.len()),
            Some([b':', b' ', ..]) => Some(6..start.len()),
            Some([b':', ..]) => Some(5..start.len()),
            _ => None,
        };
        match data {
            Some(data) => {
                self.is_too_long |= self.is_line_too_long;
                // The lines of an event are one text, with line feeds between them.
                let at = self.bytes.len() - start.len();
                self.bytes.drain(self.line_at..at + data.start);
                self.bytes.push(b'\n');
            }
            None => self.bytes.truncate(self.line_at),
        }
        self.line_at = self.bytes.len();
        self.is_line_too_long = false;
    }

    /// The item; `None` if it is too long.
    pub(super) fn whole(&self) -> Option<&[u8]> {
        (!self.is_too_long).then_some(&self.bytes)
    }

    /// Forgets the item, and keeps the memory for the next one.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        *self = Self { bytes: std::mem::take(&mut self.bytes), ..Self::default() };
    }

    /// Adds as much as there is room for; whether that is all.
    fn append(&mut self, more: &[u8]) -> bool {
        let n_room = MAX_BYTES.saturating_sub(self.bytes.len());
        self.bytes.extend_from_slice(&more[..more.len().min(n_room)]);
        more.len() <= n_room
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is kept of an event with these lines, each cut at every byte.
    fn data_of(lines: &[&str]) -> Option<String> {
        let longest = lines.iter().map(|line| line.len()).max().unwrap_or(0);
        let mut all: Vec<_> = (0..=longest.min(100))
            .map(|cut| {
                let mut text = ItemText::default();
                for (index, line) in lines.iter().enumerate() {
                    let (left, right) = line.as_bytes().split_at(cut.min(line.len()));
                    text.push_line(left, false, index == 0);
                    text.push_line(right, true, index == 0);
                }
                text.whole().map(|bytes| String::from_utf8(bytes.to_vec()).unwrap())
            })
            .collect();
        all.dedup();
        assert_eq!(all.len(), 1, "{all:?}");
        all.remove(0)
    }

    #[test]
    fn of_an_event_its_data_is_kept() {
        assert_eq!(data_of(&["data: a"]).unwrap(), "a\n");
        assert_eq!(
            data_of(&["id: 7", "data:  a", ": x", "data", "data:b", "event: e"]).unwrap(),
            " a\n\nb\n"
        );
        assert_eq!(data_of(&["\u{feff}data: a", "\u{feff}data: b"]).unwrap(), "a\n");
        assert_eq!(data_of(&["database: a", "dat", " data: x", ""]).unwrap(), "");
    }

    #[test]
    fn what_is_too_long_is_not_looked_into() {
        let long = "x".repeat(MAX_BYTES);
        assert_eq!(data_of(&[&format!(": {long}"), "data: a"]).unwrap(), "a\n");
        assert_eq!(data_of(&[&format!("data: {long}")]), None);
        let half = format!("data: {}", &long[..MAX_BYTES / 2]);
        assert_eq!(data_of(&[&half, &half, "data: a"]), None);
        let mut text = ItemText::default();
        text.push(long.as_bytes());
        assert!(text.whole().is_some());
        text.push(b"x");
        assert!(text.whole().is_none() && !text.is_empty() && text.bytes.len() <= MAX_BYTES + 1);
        text.clear();
        assert!(text.is_empty() && text.whole() == Some(b""));
    }
}
