//! `redlock completions` and `redlock man`, from the same source as `--help`.

use clap::{Command, CommandFactory as _};
use clap_complete::Shell;
use clap_mangen::Man;

use crate::{
    args::Cli,
    exit::Exit,
    failure::Failure,
    say::{print, printed},
};

/// Prints the completions for a shell.
pub(crate) async fn completions(shell: Shell) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "redlock", &mut script);
    printed(print(script).await).map(|()| Exit::SUCCESS)
}

/// Prints the page of a command, or of the program.
pub(crate) async fn manual(task: Option<&str>) -> Result<Exit, Failure> {
    printed(print(page(task)?).await).map(|()| Exit::SUCCESS)
}

fn page(task: Option<&str>) -> Result<Vec<u8>, Failure> {
    let mut whole = Cli::command();
    // This puts the options of the program on every page, and names pages like `redlock-run`.
    whole.build();
    let command = match task {
        None => whole,
        Some(task) => named(&whole, task)?,
    };
    let mut page = Vec::new();
    let man = Man::new(command).source(concat!("redlock ", env!("CARGO_PKG_VERSION"))).manual("Redlock");
    man.render(&mut page).map_err(|error| Failure::of(&error))?;
    Ok(page)
}

fn named(whole: &Command, task: &str) -> Result<Command, Failure> {
    let command = whole.find_subcommand(task).filter(|command| is_listed(command));
    let unknown = || {
        let names = whole.get_subcommands().filter(|command| is_listed(command)).map(Command::get_name);
        let names = names.collect::<Vec<_>>().join(", ");
        Failure::new(Exit::FAILED, format!("there is no page on {task:?}: use one of {names}"))
    };
    let command = command.ok_or_else(unknown)?;
    Ok(command.clone().display_name(format!("redlock-{task}")))
}

fn is_listed(command: &Command) -> bool {
    !command.is_hide_set() && command.get_name() != "help"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page_with_its_options() {
        for command in Cli::command().get_subcommands().filter(|command| is_listed(command)) {
            let page = String::from_utf8(page(Some(command.get_name())).unwrap()).unwrap();
            assert!(page.contains(&format!(".TH redlock-{}", command.get_name())), "{page}");
        }
        let run = String::from_utf8(page(Some("run")).unwrap()).unwrap();
        for word in ["max\\-lifetime", "128+N", "SIGKILL", "json"] {
            assert!(run.contains(word), "{word}");
        }
    }

    #[test]
    fn a_page_that_is_not_there_is_told_with_those_that_are() {
        let failure = page(Some("walk")).unwrap_err();
        assert!(failure.exit == Exit::FAILED && failure.what.contains("use one of run, doctor, "), "{failure:?}");
    }
}
