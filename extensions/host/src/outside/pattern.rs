//! Which requests a grant has: `GET /redfish/v1/*`.

use super::{Method, PATH_BYTES_MAX};

/// What is wrong with a path, whatever was granted. A path that a server could read in another way than the
/// grant does is none: ways up, doubled slashes, and letters that are written by their number.
pub(super) fn fault(path: &str) -> Option<&'static str> {
    let (plain, query) = path.split_once('?').unwrap_or((path, ""));
    let odd = |c: char| !c.is_ascii_graphic() || matches!(c, '\\' | '#' | '"' | '<' | '>');
    match () {
        () if path.len() > PATH_BYTES_MAX => Some("is too long"),
        () if !path.starts_with('/') => Some("does not begin with a slash"),
        () if path.chars().any(odd) => Some("has a character that no path has"),
        () if plain.contains('%') => Some("has a letter written by its number"),
        () if plain.contains("//") => Some("has an empty part"),
        () if plain.split('/').any(|part| matches!(part, "." | "..")) => Some("leads up"),
        () if query.contains('?') => Some("has two question marks"),
        () => None,
    }
}

/// Whether a pattern has a request. A `*` stands for anything but the `?` that begins a query: what follows
/// that is asked for by a `?` of the pattern's own.
pub(super) fn has(pattern: &str, method: Method, path: &str) -> bool {
    let Some((verb, wanted)) = pattern.split_once(' ') else {
        return false;
    };
    verb == method.word() && like(wanted.as_bytes(), path.as_bytes())
}

/// Without recursion: after a `*` that matched too little, it is tried with one byte more.
fn like(wanted: &[u8], found: &[u8]) -> bool {
    let (mut w, mut f) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while f < found.len() {
        match wanted.get(w) {
            Some(b'*') => {
                star = Some((w, f));
                w += 1;
            }
            Some(byte) if *byte == found[f] => {
                w += 1;
                f += 1;
            }
            _ => match star {
                Some((at, from)) if found[from] != b'?' => {
                    star = Some((at, from + 1));
                    w = at + 1;
                    f = from + 1;
                }
                _ => return false,
            },
        }
    }
    wanted[w..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything_but_a_query() {
        let reset = "POST /redfish/v1/Systems/*/Actions/ComputerSystem.Reset";
        for (pattern, path, has_it) in [
            ("POST /a", "/a", true),
            ("POST /a", "/ab", false),
            ("POST /a*", "/ab/c", true),
            ("POST /*", "/", true),
            (
                reset,
                "/redfish/v1/Systems/1/Actions/ComputerSystem.Reset",
                true,
            ),
            (
                reset,
                "/redfish/v1/Systems/1/Actions/ComputerSystem.Resets",
                false,
            ),
            (reset, "/redfish/v1/Systems/1", false),
            ("POST /a*c*e", "/abcbcde", true),
            ("POST /a*c*e", "/abcbcd", false),
            ("POST /a*", "/a?b=1", false),
            ("POST /a?b=*", "/a?b=1", true),
            ("POST /a*?*", "/abc?b=1", true),
            ("GET /a", "/a", false),
            ("/a", "/a", false),
        ] {
            assert_eq!(has(pattern, Method::Post, path), has_it, "{pattern} {path}");
        }
    }

    #[test]
    fn paths_that_can_be_read_in_two_ways_are_none() {
        for bad in [
            "",
            "a",
            "/a/../b",
            "/..",
            "/a/./b",
            "/a//b",
            "//host/a",
            "/%2e%2e/b",
            "/a%2Fb",
            "/a b",
            "/a\nHost: x",
            "/ü",
            "/a\\..\\b",
            "/a#b",
            "/a?b?c",
        ] {
            assert!(fault(bad).is_some(), "{bad:?}");
        }
        assert!(fault(&format!("/{}", "a".repeat(PATH_BYTES_MAX))).is_some());
        for good in ["/", "/a", "/a/b.c/..d", "/a?b=%20c&d=/../"] {
            assert_eq!(fault(good), None, "{good:?}");
        }
    }
}
