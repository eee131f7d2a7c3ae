//! Removes from a server's message what must not be shown: tokens, passwords, and more text than an error needs.

use std::{error::Error, ops::Range};

use crate::names::Token;

/// The longest message that is kept, in bytes.
const LONGEST: usize = 500;

/// The shortest beginning of a secret that is removed at the end of a message, where a server may have cut it.
const BEGINNING: usize = 8;

/// After this text, Redis repeats what it was sent, and cuts it off somewhere.
const ECHO: &str = ", with args beginning with";

/// Returns the message without its echo of what the server was sent.
pub(crate) fn without_echo(message: &str) -> &str {
    message.split_once(ECHO).map_or(message, |(message, _)| message)
}

/// Returns the text of an error and all its causes, if something had to be removed from it or from its `Debug` output.
/// Returns `None` if the error can be kept as it is.
pub(crate) fn cleaned(error: &(dyn Error + 'static), secrets: &[&str]) -> Option<String> {
    let is_clean = |text: &str| scrubbed(text, secrets) == text;
    let mut texts = vec![error.to_string()];
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !texts.last().is_some_and(|last| last.ends_with(&text)) {
            texts.push(text);
        }
        cause = error.source();
    }
    let message = texts.join(": ");
    let may_be_kept = texts.iter().all(|text| is_clean(text)) && shows_nothing(&format!("{error:?}"), secrets);
    (!may_be_kept).then(|| scrubbed(&message, secrets))
}

/// Returns whether the `Debug` output of an error shows nothing that must be hidden, however long it is.
fn shows_nothing(debug: &str, secrets: &[&str]) -> bool {
    without_echo(debug) == debug && hidden(debug.as_bytes(), secrets).is_empty()
}

/// Returns where a message shows one of these secrets, or what looks like a token. At its end, where it may have been
/// cut, the beginning of a secret is enough.
fn hidden(message: &[u8], secrets: &[&str]) -> Vec<Range<usize>> {
    let mut hidden = Vec::new();
    for secret in secrets.iter().map(|secret| secret.as_bytes()).filter(|secret| !secret.is_empty()) {
        for (start, _) in message.windows(secret.len()).enumerate().filter(|(_, window)| *window == secret) {
            let range = start..start + secret.len();
            if secret.len() > 3 || stands_alone(message, &range) {
                hidden.push(range);
            }
        }
        let beginnings = (BEGINNING..secret.len()).rev().filter_map(|len| secret.get(..len));
        // Quotes and dots may follow the cut.
        let end = message.iter().rposition(|byte| !b"'`\". \r\n".contains(byte)).map_or(0, |last| last + 1);
        let cut = message.get(..end).unwrap_or_default();
        if let Some(beginning) = beginnings.into_iter().find(|beginning| cut.ends_with(beginning)) {
            hidden.push(end - beginning.len()..end);
        }
    }
    let mut start = 0;
    for run in message.split(|byte| !byte.is_ascii_hexdigit()) {
        if run.len() >= Token::DIGITS {
            hidden.push(start..start + run.len());
        }
        start += run.len() + 1;
    }
    hidden
}

/// Returns the message without these secrets, without what looks like a token, and not longer than `LONGEST`.
fn scrubbed(message: &str, secrets: &[&str]) -> String {
    let message = without_echo(message).as_bytes();
    // A secret that extends past the end of the kept text must still be recognized.
    let message = message.get(..4 * LONGEST).unwrap_or(message);
    let mut is_hidden = vec![false; message.len()];
    for range in hidden(message, secrets) {
        is_hidden.iter_mut().take(range.end).skip(range.start).for_each(|hidden| *hidden = true);
    }

    let mut shown = Vec::with_capacity(message.len().min(LONGEST));
    for (byte, is_hidden) in message.iter().zip(&is_hidden) {
        match is_hidden {
            false => shown.push(*byte),
            true if shown.ends_with(HIDDEN) => {}
            true => shown.extend(HIDDEN),
        }
    }
    let mut shown = String::from_utf8_lossy(&shown).into_owned();
    if shown.len() > LONGEST {
        let end = (0..=LONGEST - HIDDEN.len()).rev().find(|end| shown.is_char_boundary(*end));
        shown.truncate(end.unwrap_or_default());
        shown.push_str("...");
    }
    shown
}

/// The text that is shown in place of removed text.
const HIDDEN: &[u8] = b"...";

/// Returns whether no letter or digit is next to the range. A secret of one to three characters is also part of many
/// words.
fn stands_alone(message: &[u8], range: &Range<usize>) -> bool {
    let is_word = |index: Option<usize>| {
        index.and_then(|index| message.get(index)).is_some_and(|byte| byte.is_ascii_alphanumeric())
    };
    !is_word(range.start.checked_sub(1)) && !is_word(Some(range.end))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "5f0c6c1be1c8b4b4e0d7f3c2a1908f7e6d5c4b3a";

    #[test]
    fn the_echo_of_a_command_is_cut_off() {
        let echo = format!("ERR unknown command 'EVALSHA', with args beginning with: '1' '{TOKEN}' 'secret");
        assert_eq!(scrubbed(&echo, &[]), "ERR unknown command 'EVALSHA'");
        assert_eq!(
            without_echo("ERR unknown command `X`, with args beginning with: `NOAUTH`"),
            "ERR unknown command `X`"
        );
    }

    #[test]
    fn a_token_is_removed_wherever_it_is() {
        for (message, shown) in [
            (format!("ERR no '{TOKEN}' here"), "ERR no '...' here"),
            (format!("ERR {TOKEN}{TOKEN}"), "ERR ..."),
            (format!("ERR '{TOKEN}:web-3'"), "ERR '...:web-3'"),
            ("wake:000102030405060708090a0b0c0d0e0f".to_owned(), "wake:000102030405060708090a0b0c0d0e0f"),
        ] {
            assert_eq!(scrubbed(&message, &[]), shown);
        }
    }

    #[test]
    fn a_known_secret_is_removed_and_so_is_its_beginning_at_the_end_of_a_message() {
        for (secret, message, shown) in [
            (TOKEN, format!("ERR '{}", &TOKEN[..8]), "ERR '..."),
            (TOKEN, format!("ERR '{}...'", &TOKEN[..30]), "ERR '......'"),
            (TOKEN, "ERR '5f0c6c1be' is no number".to_owned(), "ERR '5f0c6c1be' is no number"),
            ("correct horse", "ERR AUTH correct hor".to_owned(), "ERR AUTH ..."),
            ("production-7", "the production-8 replica".to_owned(), "the production-8 replica"),
            ("hunter2", "xhunter2y hunter".to_owned(), "x...y hunter"),
            ("a", "a bad 'a' at (a)".to_owned(), "... bad '...' at (...)"),
            ("\u{8ba2}\u{5355}\u{8ba2}\u{5355}", "AUTH \u{8ba2}\u{5355}\u{8ba2}\u{5355}!".to_owned(), "AUTH ...!"),
            ("", "ERR as it is".to_owned(), "ERR as it is"),
        ] {
            assert_eq!(scrubbed(&message, &[secret]), shown, "{secret}");
        }
    }

    #[test]
    fn a_message_is_cut_at_500_bytes_and_hides_a_secret_across_the_cut() {
        let exact = "x".repeat(LONGEST);
        assert_eq!(scrubbed(&exact, &[]), exact);
        let long = scrubbed(&"\u{e9}".repeat(100_000), &[]);
        assert!(long.len() <= LONGEST && long.ends_with("..."), "{long}");
        let over = format!("{}{TOKEN}", "x".repeat(LONGEST - 4));
        assert!(!scrubbed(&over, &[TOKEN]).contains("5f"));
    }

    #[test]
    fn an_error_without_secrets_is_kept() {
        #[derive(Debug, thiserror::Error)]
        #[error("outer")]
        struct Outer(#[source] std::io::Error);

        #[derive(Debug, thiserror::Error)]
        #[error("harmless")]
        struct OnlyInDebug(String);

        assert_eq!(cleaned(&Outer(std::io::Error::other("refused")), &[TOKEN]), None);
        assert_eq!(cleaned(&OnlyInDebug("long ".repeat(1_000)), &[TOKEN]), None);
        let inner = Outer(std::io::Error::other(format!("got {TOKEN}")));
        assert_eq!(cleaned(&inner, &[]).as_deref(), Some("outer: got ..."));
        assert_eq!(cleaned(&OnlyInDebug("hunter2".to_owned()), &["hunter2"]).as_deref(), Some("harmless"));
    }
}
