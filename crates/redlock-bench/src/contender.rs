//! The contenders: a library, and how it is set up.

use std::fmt;

use clap::{Args, ValueEnum};

use crate::library::Tuning;

/// A library, with the client that it is used with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ValueEnum)]
pub(crate) enum Kind {
    OursRedisRs,
    OursFred,
    Rslock,
    Redlock,
    FloorRedisRs,
    FloorFred,
}

/// The side of a contender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Side {
    Ours,
    Peer,
    Floor,
}

/// A library with one of its setups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Contender {
    pub(crate) kind: Kind,
    pub(crate) tuning: Tuning,
}

impl Kind {
    pub(crate) const OURS: [Self; 2] = [Self::OursRedisRs, Self::OursFred];
    pub(crate) const ALL: [Self; 6] =
        [Self::OursRedisRs, Self::OursFred, Self::Rslock, Self::Redlock, Self::FloorRedisRs, Self::FloorFred];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::OursRedisRs => "ours, redis-rs",
            Self::OursFred => "ours, fred",
            Self::Rslock => "rslock",
            Self::Redlock => "redlock",
            Self::FloorRedisRs => "floor, redis-rs",
            Self::FloorFred => "floor, fred",
        }
    }

    pub(crate) fn side(self) -> Side {
        match self {
            Self::OursRedisRs | Self::OursFred => Side::Ours,
            Self::Rslock | Self::Redlock => Side::Peer,
            Self::FloorRedisRs | Self::FloorFred => Side::Floor,
        }
    }

    /// Returns the bare commands with the same client, or `None` if the client has no such floor here.
    pub(crate) fn floor(self) -> Option<Self> {
        match self {
            Self::OursRedisRs | Self::Rslock => Some(Self::FloorRedisRs),
            Self::OursFred => Some(Self::FloorFred),
            Self::Redlock | Self::FloorRedisRs | Self::FloorFred => None,
        }
    }

    /// Returns its name on the command line of a child.
    pub(crate) fn argument(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    pub(crate) fn with(self, tuning: Tuning) -> Contender {
        Contender { kind: self, tuning }
    }
}

impl Contender {
    /// Returns all contenders with defaults.
    pub(crate) fn all() -> Vec<Self> {
        Kind::ALL.into_iter().map(|kind| kind.with(Tuning::Defaults)).collect()
    }
}

impl fmt::Display for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.name())?;
        match self.tuning {
            Tuning::Defaults | Tuning::Patient => Ok(()),
            Tuning::Impatient => f.write_str(", 3 ms"),
            Tuning::Fenced => f.write_str(", fenced"),
            Tuning::Permit => f.write_str(", permit"),
            Tuning::Shared => f.write_str(", shared"),
        }
    }
}

/// A contender and its nodes.
#[derive(Debug, Clone, Args)]
pub(crate) struct Who {
    #[arg(long, value_enum)]
    pub(crate) kind: Kind,
    #[arg(long, value_enum)]
    pub(crate) tuning: Tuning,
    #[arg(long)]
    pub(crate) url: Vec<String>,
}

impl Who {
    pub(crate) fn contender(&self) -> Contender {
        self.kind.with(self.tuning)
    }

    /// Returns the arguments for a child with this contender.
    pub(crate) fn arguments(contender: Contender, urls: &[String]) -> Vec<String> {
        let tuning = contender.tuning.to_possible_value();
        let tuning = tuning.map(|value| value.get_name().to_owned()).unwrap_or_default();
        let mut arguments = vec!["--kind".to_owned(), contender.kind.argument(), "--tuning".to_owned(), tuning];
        arguments.extend(urls.iter().flat_map(|url| ["--url".to_owned(), url.clone()]));
        arguments
    }
}

/// Evaluates an expression in which a type name means the contender's library.
macro_rules! with_library {
    ($kind:expr, $library:ident => $body:expr) => {
        match $kind {
            $crate::contender::Kind::OursRedisRs => {
                type $library = $crate::libraries::Ours<$crate::libraries::RedisRs>;
                $body
            }
            $crate::contender::Kind::OursFred => {
                type $library = $crate::libraries::Ours<$crate::libraries::Fred>;
                $body
            }
            $crate::contender::Kind::Rslock => {
                type $library = $crate::libraries::Rslock;
                $body
            }
            $crate::contender::Kind::Redlock => {
                type $library = $crate::libraries::RedlockCratesIo;
                $body
            }
            $crate::contender::Kind::FloorRedisRs => {
                type $library = $crate::libraries::Floor<$crate::libraries::RedisRsNode>;
                $body
            }
            $crate::contender::Kind::FloorFred => {
                type $library = $crate::libraries::Floor<$crate::libraries::FredNode>;
                $body
            }
        }
    };
}

pub(crate) use with_library;
