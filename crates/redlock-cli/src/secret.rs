//! Hides passwords in messages about the command line, whose words may be anything.

/// Returns the text without anything that may be a password in a URL: everything between the scheme and the `@`.
pub(crate) fn hidden(text: &str) -> String {
    let mut told = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, url)) = rest.split_once("://") {
        told.push_str(before);
        told.push_str("://");
        // A password that was not encoded may contain an `@` itself: the last one in the word ends it.
        let word = url.split(char::is_whitespace).next().unwrap_or_default();
        rest = match word.rsplit_once('@') {
            Some((secret, _)) => {
                told.push_str("...");
                url.get(secret.len()..).unwrap_or_default()
            }
            None => url,
        };
    }
    told.push_str(rest);
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_before_the_at_is_left_out() {
        for (text, told) in [
            ("unexpected argument 'redis://:hunter2@a:1' found", "unexpected argument 'redis://...@a:1' found"),
            ("redis://me:hunt@er2@a,redis://b", "redis://...@a,redis://b"),
            ("redis://a,redis://:hunter2@b c@d", "redis://...@b c@d"),
            ("redis://a redis://:hunter2@b\nx", "redis://a redis://...@b\nx"),
            ("no url: me@a", "no url: me@a"),
            ("", ""),
        ] {
            assert_eq!(hidden(text), told);
        }
    }
}
