//! How a command ends when it does not end well: the exit codes of the contract (section 7).

use std::fmt;

use crate::problem::{Problem, Problems};
use crate::store::StoreError;

/// Why a command did not do what was asked.
#[derive(Debug)]
pub enum Failure {
    /// 1: done, and the answer is no. The text, if any, goes to stderr.
    No(String),
    /// 2: wrong usage or configuration.
    Usage(Problems),
    /// A code of the command's own (3, 4, 5 of `watch`).
    Own(u8),
    /// 69: something needed cannot be reached.
    Unreachable(String),
    /// 70: a bug.
    Bug(String),
}

impl Failure {
    /// The exit code.
    pub const fn code(&self) -> u8 {
        match self {
            Self::No(_) => 1,
            Self::Usage(_) => 2,
            Self::Own(code) => *code,
            Self::Unreachable(_) => 69,
            Self::Bug(_) => 70,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::No(text) | Self::Unreachable(text) => f.write_str(text),
            Self::Usage(problems) => problems.fmt(f),
            Self::Own(_) => Ok(()),
            Self::Bug(text) => write!(f, "a bug in scanbell: {text}"),
        }
    }
}

impl From<Problems> for Failure {
    fn from(problems: Problems) -> Self {
        Self::Usage(problems)
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self::Usage(problem.into())
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Unreachable(error.to_string())
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Unreachable(error.to_string())
    }
}

/// What a command answers.
pub type Done = Result<(), Failure>;
