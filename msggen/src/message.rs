//! What a message says.

use std::time::{Duration, Instant};

use reports::stamp::{Clock, Sender, as_us};

use crate::template::{Filling, Template, push_number};

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
    /// Its number among the messages to the id, from 1; 0 as long as it has none.
    pub number: u64,
    /// Whether its turn has come for which it had to wait, and a place was taken for it.
    pub has_place: bool,
    /// How long it waited for its turn.
    pub waited: Duration,
    /// Since when nothing but msggen itself has kept it from being written: when it was due, or
    /// what it waited for after that was there. None means when it is sent.
    pub free_at: Option<Instant>,
}

impl Draft {
    /// A message that was not sent yet.
    pub fn new(countdown: u64, id: u64, due_at: Option<Instant>) -> Self {
        let (has_place, waited) = (false, Duration::ZERO);
        Self { countdown, id, due_at, number: 0, has_place, waited, free_at: due_at }
    }

    /// The same message, if it could not have been written before `at`.
    #[must_use]
    pub fn free_at(self, at: Instant) -> Self {
        Self { free_at: self.free_at.max(Some(at)), ..self }
    }
}

/// What the stamps of a run are made of.
#[derive(Debug)]
pub struct Stamps {
    /// Turns due times into wall times.
    pub clock: Clock,
    /// The sender as it is written.
    sender: String,
}

impl Stamps {
    /// The stamps of `sender`.
    pub fn new(clock: Clock, sender: Sender) -> Self {
        Self { clock, sender: sender.to_string() }
    }

    /// Appends the stamp of a message sent at `sent_at`. It is [`reports::stamp::Stamp`] as it is
    /// displayed, in a quarter of the time.
    fn push(&self, draft: &Draft, sent_at: Instant, to: &mut String) {
        let due_at = draft.due_at.unwrap_or(sent_at);
        to.push_str(" @");
        push_number(self.clock.unix_us(due_at), to);
        to.push('~');
        push_number(as_us(sent_at.saturating_duration_since(due_at)), to);
        to.push('#');
        push_number(draft.id, to);
        to.push(':');
        push_number(draft.number, to);
        to.push('.');
        to.push_str(&self.sender);
        to.push(';');
    }
}

impl Text {
    /// Appends the message of `draft` from `source`, sent at `sent_at`, to `to`, with its stamp if
    /// it is to have one.
    pub fn write(
        &self,
        draft: &Draft,
        source: u64,
        sent_at: Instant,
        stamps: Option<&Stamps>,
        to: &mut String,
    ) {
        let start = to.len();
        let Draft { countdown, id, number, .. } = *draft;
        self.template.fill(Filling { countdown, id, source, number, message: "" }, to);
        let text_end = to.len();
        if let Some(stamps) = stamps {
            stamps.push(draft, sent_at, to);
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
    use reports::stamp::{Mark, Stamp};

    use super::*;

    fn written(text: &str, size: usize, stamps: Option<&Stamps>, late: Duration) -> String {
        let text = Text { template: Template::of_message(text).unwrap(), size };
        let sent_at = Instant::now();
        let draft = Draft { number: 67, ..Draft::new(12, 345, sent_at.checked_sub(late)) };
        let mut to = "before ".to_owned();
        text.write(&draft, 6, sent_at, stamps, &mut to);
        to.strip_prefix("before ").unwrap().to_owned()
    }

    #[test]
    fn a_message_says_what_its_template_says() {
        assert_eq!(written(DEFAULT_TEXT, 0, None, Duration::ZERO), "Fake message Num = 12");
        assert_eq!(written("{source}>{id}#{k}/{n}", 0, None, Duration::ZERO), "6>345#12/67");
    }

    #[test]
    fn dots_fill_a_message_up_to_its_size_and_a_longer_one_stays() {
        assert_eq!(written("{id}", 5, None, Duration::ZERO), "345..");
        assert_eq!(written("{id}", 3, None, Duration::ZERO), "345");
        assert_eq!(written("{id}", 1, None, Duration::ZERO), "345");
    }

    #[test]
    fn the_stamp_comes_last_and_counts_for_the_size() {
        let stamps = Stamps::new(Clock::start(), Sender(0x0bad_cafe));
        let message = written("x", 200, Some(&stamps), Duration::from_micros(50));
        assert_eq!(message.len(), 200);
        assert!(message.starts_with("x...."), "{message}");
        let stamp = Stamp::first_in(message.as_bytes()).unwrap();
        assert!(message.ends_with(&stamp.to_string()), "{message}");
        let mark = Mark { id: 345, n: 67, sender: Sender(0x0bad_cafe) };
        assert_eq!((stamp.mark, stamp.late_us), (Some(mark), 50));
    }
}
