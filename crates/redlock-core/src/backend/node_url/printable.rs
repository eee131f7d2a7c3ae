//! Selects the parts of a URL that may be printed: nothing that may be a password, or a part of one.

use url::Url;

/// The text that is printed in place of a URL, or a part of one, that may contain a password.
pub(super) const UNKNOWN: &str = "...";

/// Returns the parts of a URL that may be printed: no user, no password, no options, and no host that may hide them.
pub(super) fn printable(url: &Url) -> String {
    let host = url.host_str().filter(|host| !host.contains('%')).unwrap_or(UNKNOWN);
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{host}{port}", url.scheme())
}

/// The characters that end user and password: whatever follows the first of them after the scheme is neither.
const ENDS_LOGIN: [char; 3] = ['/', '?', '#'];

/// Returns the text after the scheme, if it may contain user, password and host: the parts before and after the first
/// `?`.
fn behind_scheme(text: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = text.split_once("://")?;
    let is_path = ["unix", "redis+unix"].iter().any(|unix| scheme.trim_start().eq_ignore_ascii_case(unix));
    (!is_path).then(|| rest.split_once('?').unwrap_or((rest, "")))
}

/// Returns whether the user or the password seems to end early, at a `/`, `?` or `#` that should be percent-encoded. An
/// `@` in the value of an option is no sign of that.
pub(super) fn is_cut_short(text: &str) -> bool {
    let Some((address, options)) = behind_scheme(text) else { return false };
    let cut = address.split_once(ENDS_LOGIN).is_some_and(|(login, rest)| !login.contains('@') && rest.contains('@'));
    let cut_at_options = options.split_once('@').is_some_and(|(before, _)| !before.contains('='));
    cut || (cut_at_options && !address.contains('@'))
}

/// Returns whether there is an `@` after the host, as it was parsed. Host, port and path may then be parts of a
/// password.
pub(super) fn may_hide_password(text: &str) -> bool {
    behind_scheme(text).is_some_and(|(address, options)| {
        let path = address.split_once(ENDS_LOGIN).map_or("", |(_, path)| path);
        has_at(path) || has_at(options)
    })
}

fn has_at(text: &str) -> bool {
    text.contains('@') || text.contains("%40")
}

/// Returns the host and the port of a URL that cannot be parsed, as far as they can be distinguished from the password.
pub(super) fn host_of(text: &str) -> String {
    let is_host = |char: char| char.is_ascii_alphanumeric() || ".,:-_[]".contains(char);
    let host = behind_scheme(text).filter(|(_, options)| !has_at(options)).and_then(|(address, _)| {
        let (_, host) = address.rsplit_once('@')?;
        host.split(ENDS_LOGIN).next().filter(|host| !host.is_empty() && host.chars().all(is_host))
    });
    host.unwrap_or(UNKNOWN).to_owned()
}
