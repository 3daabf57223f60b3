//! An error in one line, with its causes.

use std::error::Error;
use std::iter;

/// An error and what caused it, from the outermost on: `cannot read a.txt: No such file`. A cause
/// that an error's own text names already is not repeated.
pub fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    for cause in iter::successors(error.source(), |&cause| cause.source()) {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    /// An error that names its cause, or leaves that to whoever prints it.
    #[derive(Debug, thiserror::Error)]
    enum Failure {
        #[error("cannot read a: {source}; name another")]
        Named { source: io::Error },
        #[error("cannot begin")]
        Unnamed(#[source] Box<Failure>),
    }

    #[test]
    fn each_cause_is_said_once_whether_its_error_names_it_or_not() {
        let named = Failure::Named { source: io::Error::from_raw_os_error(2) };
        let expected = "cannot read a: No such file or directory (os error 2); name another";
        assert_eq!(with_causes(&named), expected);
        let unnamed = Failure::Unnamed(Box::new(named));
        assert_eq!(with_causes(&unnamed), format!("cannot begin: {expected}"));
    }
}
