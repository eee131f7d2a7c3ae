//! Splits Markdown and comments into words and ends of sentences, without code, links and addresses.

/// A span of code.
pub(super) const CODE: &str = "`";

/// The end of a paragraph, a list item or a cell, which needs no full stop.
pub(super) const END: &str = "\n";

/// The end of a heading.
const HEADING: &str = "#";

/// A word, a sign, or a span of code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token<'a> {
    pub(super) text: &'a str,
    /// Counted from 1.
    pub(super) line: usize,
}

impl Token<'_> {
    pub(super) fn is_word(&self) -> bool {
        self.text.starts_with(char::is_alphanumeric)
    }

    pub(super) fn ends_a_sentence(&self) -> bool {
        matches!(self.text, "." | "?" | "!" | ":" | END | HEADING)
    }
}

/// Returns the comments of a Rust file that have their own lines, as a text with the same lines.
pub(super) fn comments(source: &str) -> String {
    let comment = |line: &str| {
        let text = line.trim_start().strip_prefix("//")?;
        Some(text.trim_start_matches(['/', '!']).strip_prefix(' ').unwrap_or_default().to_owned())
    };
    source.lines().map(|line| comment(line).unwrap_or_default() + "\n").collect()
}

/// Returns the words of a text, in order.
pub(super) fn tokens(text: &str) -> Vec<Token<'_>> {
    let (mut tokens, mut fenced) = (Vec::new(), false);
    for (number, line) in text.lines().enumerate() {
        let end = |text| Token { text, line: number + 1 };
        let is_fence = line.trim_start().starts_with("```");
        fenced ^= is_fence;
        let is_definition = line.starts_with('[') && line.contains("]: ");
        if fenced || is_fence || is_definition || line.trim().is_empty() {
            tokens.push(end(END));
            continue;
        }
        let item = line.trim_start();
        if item.starts_with(['|', '#']) || is_list_item(item) {
            tokens.push(end(END));
        }
        words(line, number + 1, &mut tokens);
        if item.starts_with('#') {
            tokens.push(end(HEADING));
        }
    }
    tokens.push(Token { text: END, line: text.lines().count() });
    tokens
}

fn is_list_item(line: &str) -> bool {
    let numbered = line.trim_start_matches(|c: char| c.is_ascii_digit());
    line.starts_with("* ") || line.starts_with("- ") || (numbered != line && numbered.starts_with(". "))
}

/// Returns the words of one line.
fn words<'a>(line: &'a str, number: usize, tokens: &mut Vec<Token<'a>>) {
    let mut rest = line;
    while let Some(next) = rest.chars().next() {
        let (token, length) = if next == '`' {
            (Some(CODE), rest.get(1..).and_then(|code| code.find('`')).map_or(rest.len(), |end| end + 2))
        } else if let Some(link) = ["](", "]["].iter().find(|link| rest.starts_with(**link)) {
            let close = if *link == "](" { ')' } else { ']' };
            (None, rest.get(2..).and_then(|target| target.find(close)).map_or(rest.len(), |end| end + 3))
        } else if rest.starts_with("http://") || rest.starts_with("https://") {
            (None, rest.find([' ', ')', '>']).unwrap_or(rest.len()))
        } else if next.is_alphanumeric() {
            let length =
                rest.find(|c: char| !c.is_alphanumeric() && !matches!(c, '-' | '_' | '\'')).unwrap_or(rest.len());
            (rest.get(..length), length)
        } else {
            let sign = rest.get(..next.len_utf8());
            let ends_the_word = rest.get(1..).is_none_or(|after| !after.starts_with(char::is_alphanumeric));
            let token = match next {
                '|' => Some(END),
                '.' | '?' | '!' | ':' => sign.filter(|_| ends_the_word),
                ',' | '(' => sign,
                _ => None,
            };
            (token, next.len_utf8())
        };
        tokens.extend(token.map(|text| Token { text, line: number }));
        rest = rest.get(length..).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<&str> {
        tokens(text).iter().map(|token| token.text).collect()
    }

    #[test]
    fn words_are_read_without_code_and_links() {
        assert_eq!(
            texts("A [lock](a.md) is `held`, or [not][b].\n"),
            ["A", "lock", "is", CODE, ",", "or", "not", ".", END]
        );
        assert_eq!(
            texts("In 0.1 of node-redlock: see https://a.example/told now.\n"),
            ["In", "0", "1", "of", "node-redlock", ":", "see", "now", ".", END]
        );
    }

    #[test]
    fn cells_headings_and_items_end_a_sentence() {
        assert_eq!(texts("# A\n* b\n| c | d |\n"), [END, "A", HEADING, END, "b", END, END, "c", END, "d", END, END]);
    }

    #[test]
    fn comments_keep_their_lines() {
        assert_eq!(comments("//! A.\nlet x = 1; // b\n  // C.\n  ///\n"), "A.\n\nC.\n\n");
    }
}
