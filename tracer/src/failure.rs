//! Why the program ends early, and with which exit code.

use std::fmt;
use std::process::ExitCode;

/// An error that ends the program.
#[derive(Debug)]
pub enum Failure {
    /// Failed at run time: exit code 1.
    Runtime(anyhow::Error),
    /// Bad usage or a bad input file: exit code 2.
    Usage(String),
    /// Not permitted or not supported here: exit code 3. What is missing, and what to do about it.
    Unsupported(Vec<(String, String)>),
}

impl Failure {
    pub fn usage(message: impl Into<String>) -> Self {
        Self::Usage(message.into())
    }

    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Runtime(_) => 1,
            Self::Usage(_) => 2,
            Self::Unsupported(_) => 3,
        })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Runtime(error) => write!(f, "{error:#}"),
            Self::Usage(message) => f.write_str(message),
            Self::Unsupported(missing) => {
                f.write_str("cannot watch connections here:")?;
                for (what, remedy) in missing {
                    write!(f, "\n  {what}\n    → {remedy}")?;
                }
                Ok(())
            }
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Runtime(error)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Runtime(error.into())
    }
}
