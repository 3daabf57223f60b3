//! What a message says.

use std::fmt::Write as _;
use std::time::Instant;

use reports::stamp::{Clock, Stamp, as_us};

use crate::template::{Filling, Template};

/// The article's message.
pub const DEFAULT_TEXT: &str = "Fake message Num = {k}";

/// The text of all messages of a run.
#[derive(Debug, Clone)]
pub struct Text {
    /// What they say.
    pub template: Template,
    /// Bytes that each has at least; dots make up for what is missing.
    pub size: usize,
}

/// A message that waits to be written.
#[derive(Debug, Clone, Copy)]
pub struct Draft {
    /// Its number, counting down to 1, as the article's do.
    pub countdown: u64,
    /// Whom it is for.
    pub id: u64,
    /// When it is due; none means when it is sent.
    pub due_at: Option<Instant>,
}

impl Text {
    /// Appends the message of `draft` from `source`, sent at `sent_at`, to `to`. With a clock, it
    /// carries when it was due and how late it was sent.
    pub fn write(
        &self,
        draft: &Draft,
        source: u64,
        sent_at: Instant,
        clock: Option<&Clock>,
        to: &mut String,
    ) {
        let start = to.len();
        let (countdown, id) = (draft.countdown, draft.id);
        self.template.fill(Filling { countdown, id, source, message: "" }, to);
        let text_end = to.len();
        if let Some(clock) = clock {
            let due_at = draft.due_at.unwrap_or(sent_at);
            let late_us = as_us(sent_at.saturating_duration_since(due_at));
            let stamp = Stamp { due_unix_us: clock.unix_us(due_at), late_us, mark: None };
            write!(to, "{stamp}").expect("a string grows as needed");
        }
        // Before the stamp, which is looked for at the end.
        let n_missing = self.size.saturating_sub(to.len() - start);
        if n_missing > 0 {
            to.insert_str(text_end, &".".repeat(n_missing));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn written(text: &str, size: usize, clock: Option<&Clock>, late: Duration) -> String {
        let text = Text { template: Template::of_message(text).unwrap(), size };
        let sent_at = Instant::now();
        let draft = Draft { countdown: 12, id: 345, due_at: sent_at.checked_sub(late) };
        let mut to = "before ".to_owned();
        text.write(&draft, 6, sent_at, clock, &mut to);
        to.strip_prefix("before ").unwrap().to_owned()
    }

    #[test]
    fn a_message_says_what_its_template_says() {
        assert_eq!(written(DEFAULT_TEXT, 0, None, Duration::ZERO), "Fake message Num = 12");
        assert_eq!(written("{source}>{id}#{k}", 0, None, Duration::ZERO), "6>345#12");
    }

    #[test]
    fn dots_fill_a_message_up_to_its_size_and_a_longer_one_stays() {
        assert_eq!(written("{id}", 5, None, Duration::ZERO), "345..");
        assert_eq!(written("{id}", 3, None, Duration::ZERO), "345");
        assert_eq!(written("{id}", 1, None, Duration::ZERO), "345");
    }

    #[test]
    fn the_stamp_comes_last_and_counts_for_the_size() {
        let clock = Clock::start();
        let message = written("x", 200, Some(&clock), Duration::from_micros(50));
        assert_eq!(message.len(), 200);
        assert!(message.starts_with("x....") && message.ends_with("+50"), "{message}");
        assert!(message.contains(" @"));
    }
}
