//! The flags about streams that end.

use std::fmt;

use clap::{Args, ValueEnum};

use super::field::Field;
use super::goodput::Goodput;
use super::plan::StreamPlan;
use crate::end::Ends;
use crate::items::Stream;

/// The flags about streams that end.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Streams that end")]
pub struct StreamArgs {
    /// Measure the time to the first item of each connection, the gaps between its items and the
    /// time to its end: 12 bytes a connection. Each of --ends ok, --ends expected, --done, --count,
    /// --goodput, and an --expect of one of these figures does so as well.
    #[arg(long)]
    pub gaps: bool,

    /// The item that ends a stream properly: the data of an event, the line, the chunk or the
    /// message of a WebSocket is TEXT, but for space around it. A stream that ends in order without
    /// it has fallen short.
    #[arg(long, value_name = "TEXT", value_parser = done)]
    pub done: Option<String>,

    /// Add up the number in this field of items that are JSON, the last one of each stream: tokens,
    /// as the server counts them, in `usage.completion_tokens` or `choices[0].tokens`.
    #[arg(long, value_name = "FIELD")]
    pub count: Option<Field>,

    /// Count the streams of which all this is true, as in
    /// `first_item_from_due<500ms,gap.p99<100ms,stream_time<30s`. Those that fail or do not end in
    /// order are none of them.
    #[arg(long, value_name = "BOUND[,…]")]
    pub goodput: Option<Goodput>,

    /// Set what a kind of server needs, and say which flags that is: llm (the usual streams of
    /// language models: `--stream events --ends ok --done '[DONE]' --count
    /// usage.completion_tokens`). Flags that are given win.
    #[arg(long, value_name = "NAME")]
    pub profile: Option<Profile>,
}

/// Flags that go together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Profile {
    /// The usual streams of language models.
    Llm,
}

/// What a profile sets.
#[derive(Debug, Clone, Copy)]
struct Flags {
    /// What items are.
    stream: Stream,
    /// What an orderly end means.
    ends: Ends,
    /// The item that ends a stream.
    done: &'static str,
    /// The field that is added up.
    count: &'static str,
}

impl Profile {
    /// What it sets.
    fn flags(self) -> Flags {
        match self {
            Self::Llm => Flags {
                stream: Stream::Events,
                ends: Ends::Ok,
                done: "[DONE]",
                count: "usage.completion_tokens",
            },
        }
    }

    /// What items are.
    pub(crate) fn stream(self) -> Stream {
        self.flags().stream
    }

    /// What an orderly end means.
    pub(crate) fn ends(self) -> Ends {
        self.flags().ends
    }
}

/// As the flags that it stands for.
impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Flags { stream, ends, done, count } = self.flags();
        let ends = ends.to_possible_value().expect("each value of --ends has a word");
        let (stream, ends) = (stream.word(), ends.get_name().to_owned());
        write!(f, "--stream {stream} --ends {ends} --done '{done}' --count {count}")
    }
}

impl StreamArgs {
    /// What these flags ask for, where it is known whether others ask for the times as well.
    pub(crate) fn plan(&self, is_measured: bool) -> StreamPlan {
        let flags = self.profile.map(Profile::flags);
        let done = self.done.clone().or_else(|| Some(flags?.done.to_owned()));
        let count = self
            .count
            .clone()
            .or_else(|| Some(flags?.count.parse().expect("the path of a profile is one")));
        let goodput = self.goodput.clone();
        let is_asked = done.is_some() || count.is_some() || goodput.is_some();
        StreamPlan { is_measured: self.gaps || is_measured || is_asked, done, count, goodput }
    }
}

/// Reads the value of `--done`. An item is compared without the space around it, so that nothing
/// but space would never come.
fn done(text: &str) -> Result<String, String> {
    match text.trim_ascii() {
        "" => Err("it must have something else than space in it".to_owned()),
        text => Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_the_flags_that_it_says_and_given_flags_win() {
        let profile = Some(Profile::Llm);
        let plan = StreamArgs { profile, ..StreamArgs::default() }.plan(false);
        assert!(plan.is_measured);
        assert_eq!(plan.done.as_deref(), Some("[DONE]"));
        assert_eq!(plan.count.unwrap().to_string(), "usage.completion_tokens");
        let text = "--stream events --ends ok --done '[DONE]' --count usage.completion_tokens";
        assert_eq!(Profile::Llm.to_string(), text);
        let done = Some("END".to_owned());
        let plan = StreamArgs { done, profile, ..StreamArgs::default() }.plan(false);
        assert_eq!(plan.done.as_deref(), Some("END"));
    }

    #[test]
    fn nothing_is_measured_unless_it_is_asked_for() {
        let plan = |args: StreamArgs| args.plan(false);
        assert_eq!(plan(StreamArgs::default()), StreamPlan::default());
        assert!(plan(StreamArgs { gaps: true, ..StreamArgs::default() }).is_measured);
        assert!(StreamArgs::default().plan(true).is_measured);
        let goodput = Some("stream_time<1s".parse().unwrap());
        assert!(plan(StreamArgs { goodput, ..StreamArgs::default() }).is_measured);
        assert_eq!(done(" \t"), Err("it must have something else than space in it".to_owned()));
    }
}
