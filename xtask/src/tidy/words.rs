//! The rule on plain words: constructions and old terms that must not return, in pages and in comments.

mod prose;

use self::prose::{Token, tokens};
use super::{Violation, source::Source};

const RULE: &str = "plain-words";

/// Words that go together, with the words to write instead. `a/b` is either of the two, and `*` is any one word.
const PHRASES: &[(&str, &str)] = &[
    ("whoever/whosoever", "name the subject"),
    ("those/they/he who", "name the subject"),
    ("for/of/by/to/with/from/if/or/only who", "name the subject: the caller that, the holder that"),
    ("told/tells/tell/telling", "report, return, log, notify"),
    ("asked", "query, send, request, require"),
    ("give/gives/given/gave/giving back", "release, return"),
    ("give/gives/given/gave/giving * back", "release, return"),
    ("give/gives/given/gave/giving * * back", "release, return"),
    ("hand/hands/handed/handing over", "transfer, hand off"),
    ("hand-over/hand-overs", "transfer, hand-off"),
    ("go/goes/going/went on", "continue, transfer"),
    ("stand/stands/stood", "be, remain, precede, mean"),
    ("so long/many/much/great/often", "give the measure"),
    ("in line", "in the queue"),
    ("wake/wakes/woke/woken/waking", "notify"),
    ("on duty", "the keeper"),
    ("upkeep", "auto-extend"),
    ("ballot/ballots", "tally"),
    ("plant/plants/planted/planting", "inject, break on purpose, mutate"),
    ("sabotage", "a broken variant"),
    ("oracle/oracles", "invariant checker"),
    ("befall/befalls", "inject, happen to"),
    ("law/laws", "contract"),
    ("seam/seams", "trait"),
    ("anew", "again"),
    ("or the like", "for example"),
    ("all the same", "anyway"),
    ("for ever", "forever"),
    ("ttl/ttls", "TTL"),
    ("tokio", "Tokio"),
    ("licence/licences", "license"),
    ("behaviour/behaviours", "behavior"),
    ("colour/colours", "color"),
    ("flavour/flavours", "flavor"),
];

/// Where a phrase is good English: the word before it, and its first word.
const ALLOWED: &[(&str, &str)] = &[("cannot", "tell"), ("can", "tell")];

/// Words that may begin a question, but no statement.
const QUESTIONS: &[&str] = &["Who", "What", "Those", "Whoever"];

/// Returns every place in a page, and every place in the comments of a file.
pub(super) fn plain_words(pages: &[Source], files: &[Source]) -> Vec<Violation> {
    let in_pages = pages.iter().flat_map(|page| find(&page.path, &page.text));
    in_pages.chain(files.iter().flat_map(|file| find(&file.path, &prose::comments(&file.text)))).collect()
}

/// Returns all places in a text.
fn find(path: &str, text: &str) -> Vec<Violation> {
    let tokens = tokens(text);
    let mut violations = Vec::new();
    let mut add = |line: usize, what: String| {
        violations.push(Violation { file: path.to_owned(), line, rule: RULE, what });
    };
    for start in 0..tokens.len() {
        let rest = tokens.get(start..).unwrap_or_default();
        let before = start.checked_sub(1).and_then(|before| tokens.get(before));
        for (phrase, instead) in PHRASES {
            if let Some(length) = matches(phrase, rest)
                && !is_allowed(before, rest)
            {
                let found: Vec<_> = rest.iter().take(length).map(|token| token.text).collect();
                add(line_of(rest), format!("\"{}\": write {instead}", found.join(" ")));
            }
        }
        if before.is_none_or(Token::ends_a_sentence)
            && let Some(problem) = opening(rest)
        {
            add(line_of(rest), problem);
        }
        if let [comma, as_, code, ..] = rest
            && matches!(comma.text, "," | "(")
            && as_.text == "as"
            && code.text == prose::CODE
        {
            add(comma.line, "\"as\" before an example: write \"for example\"".to_owned());
        }
    }
    violations
}

fn line_of(tokens: &[Token<'_>]) -> usize {
    tokens.first().map_or(1, |token| token.line)
}

/// Returns how many tokens a phrase has if `tokens` begin with it.
fn matches(phrase: &str, tokens: &[Token<'_>]) -> Option<usize> {
    let mut length = 0;
    for part in phrase.split(' ') {
        let token = tokens.get(length)?;
        let is_any = part == "*" && token.is_word();
        if !is_any && !part.split('/').any(|word| word == token.text || capitalized(word) == token.text) {
            return None;
        }
        length += 1;
    }
    Some(length)
}

/// A phrase may begin a sentence. A proper name such as Tokio is never written in lower case.
fn capitalized(word: &str) -> String {
    let mut letters = word.chars();
    match letters.next() {
        Some(first) if word != "tokio" => first.to_uppercase().chain(letters).collect(),
        _ => word.to_owned(),
    }
}

fn is_allowed(before: Option<&Token<'_>>, tokens: &[Token<'_>]) -> bool {
    let pair = (before.map(|token| token.text), tokens.first().map(|token| token.text));
    let apart = tokens.get(1).is_some_and(|token| token.text == "apart");
    apart || ALLOWED.iter().any(|(first, second)| pair == (Some(*first), Some(*second)))
}

/// Returns what is wrong with the first word of a sentence.
fn opening(sentence: &[Token<'_>]) -> Option<String> {
    let first = sentence.first()?.text;
    if first == "Else" {
        return Some("\"Else\" begins a sentence: write \"Otherwise\"".to_owned());
    }
    if !QUESTIONS.contains(&first) {
        return None;
    }
    let end = sentence.iter().skip(1).find(|token| token.ends_a_sentence())?;
    // A heading, a label and a question are fine.
    matches!(end.text, "." | prose::END).then(|| format!("\"{first}\" begins a statement: name the subject"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<String> {
        let page = Source { path: "README.md".into(), text: text.into() };
        plain_words(&[page], &[]).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn old_words_are_found_even_across_a_line_break_and_at_the_start_of_a_sentence() {
        assert_eq!(
            found("A lock is told\nlost. It gives the lock\nback. Told so, it waits so\nlong as the ttl.\n"),
            [
                "README.md:1: plain-words: \"told\": write report, return, log, notify",
                "README.md:2: plain-words: \"gives the lock back\": write release, return",
                "README.md:3: plain-words: \"Told\": write report, return, log, notify",
                "README.md:3: plain-words: \"so long\": write give the measure",
                "README.md:4: plain-words: \"ttl\": write TTL",
            ]
        );
    }

    #[test]
    fn code_links_and_the_standard_terms_pass() {
        let text = "See `told`, [the page](told.md) and [a test][told]. Tokio keeps the TTL.\n\n\
            ```text\nit is told\n```\n\n[told]: told.md\n\nOne cannot tell two of them apart. https://told.example\n";
        assert_eq!(found(text), [""; 0]);
    }

    #[test]
    fn a_statement_must_name_its_subject_and_a_question_a_heading_and_a_label_need_not() {
        assert_eq!(found("# What it does\n\n**What:** a lock.\n\nWho holds it? Ask.\n"), [""; 0]);
        assert_eq!(found("| what | meaning |\n|---|---|\n| What happens? | x |\n"), [""; 0]);
        let statements =
            "It waits. Who comes first\nis first.\n\n* What is late is dropped\n\n| Those that fail | x |\n";
        assert_eq!(
            found(statements),
            [
                "README.md:1: plain-words: \"Who\" begins a statement: name the subject",
                "README.md:4: plain-words: \"What\" begins a statement: name the subject",
                "README.md:6: plain-words: \"Those\" begins a statement: name the subject",
            ]
        );
        assert_eq!(found("It waits. Else it fails.\n").len(), 1);
    }

    #[test]
    fn as_before_an_example_is_found() {
        assert_eq!(found("A duration, as `30s`.\n").len(), 1);
        assert_eq!(found("It is known as `redlock`.\n"), [""; 0]);
    }

    #[test]
    fn comments_are_checked_and_code_is_not() {
        let text = "//! A loss is told.\nlet told = \"told\"; // told\n    /// Who waits is woken.\n";
        let file = Source { path: "a.rs".into(), text: text.into() };
        let found = plain_words(&[], &[file]);
        assert_eq!(found.iter().map(|found| found.line).collect::<Vec<_>>(), [1, 3, 3]);
    }
}
