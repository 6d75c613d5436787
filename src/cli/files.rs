//! Reads the two files that may hold settings. The process environment is never changed.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, Read};
use std::path::Path;

use crate::config::{ConfigError, Given};

/// The lines of `.env` in the directory; none if there is no such file. A directory of that name is
/// somebody's virtual environment. Of two lines with one name the last counts.
pub(super) fn read_dotenv(directory: &Path) -> Result<BTreeMap<String, String>, ConfigError> {
    let path = directory.join(".env");
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound || path.is_dir() => {
            return Ok(BTreeMap::new());
        }
        Err(error) => return Err(ConfigError::DotEnvUnreadable(error.to_string())),
    };
    let count = Cell::new(0);
    let lines = Lines {
        text: text.trim_start_matches('\u{feff}').as_bytes(),
        count: &count,
    };
    // What was wrong stays untold: the parser shows the text, and that may be a secret.
    dotenvy::from_read_iter(lines)
        .collect::<Result<_, _>>()
        .map_err(|_| ConfigError::DotEnvMalformed(count.get()))
}

/// The table in the file that `given` names.
pub(super) fn read_toml(path: &Path, given: &Given) -> Result<toml::Table, ConfigError> {
    let named = Path::new(&given.text);
    let text = fs::read_to_string(path).map_err(|error| {
        ConfigError::FileUnreadable(given.source.clone(), named.to_owned(), error.to_string())
    })?;
    text.parse::<toml::Table>().map_err(|error| {
        let start = error.span().map_or(0, |span| span.start);
        let before = text.as_bytes().iter().take(start);
        let line = 1 + before.filter(|byte| **byte == b'\n').count();
        let reason = error.message().replace('\n', ", ");
        ConfigError::FileMalformed(named.to_owned(), line, reason)
    })
}

/// Hands out one line at a time, so that the number of a wrong one is known.
struct Lines<'a> {
    text: &'a [u8],
    /// Lines that were handed out whole.
    count: &'a Cell<usize>,
}

impl Read for Lines<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let line = memchr::memchr(b'\n', self.text).map_or(self.text.len(), |end| end + 1);
        let taken = (&self.text[..line]).read(buffer)?;
        self.text = &self.text[taken..];
        if taken == line && taken > 0 {
            self.count.set(self.count.get() + 1);
        }
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Source;

    fn dotenv(text: &str) -> Result<BTreeMap<String, String>, ConfigError> {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(".env"), text).unwrap();
        read_dotenv(directory.path())
    }

    #[test]
    fn dotenv_has_quotes_comments_and_other_names() {
        let text = "\u{feff}# comment\nAPP_NAME=\"Pulsar Proxy\"\n\nexport A=1\nHTTP_PORT=1\nHTTP_PORT=2\n";
        let lines = dotenv(text).unwrap();
        assert_eq!(lines["APP_NAME"], "Pulsar Proxy");
        assert_eq!(lines["HTTP_PORT"], "2");
        assert_eq!(lines["A"], "1");
    }

    #[test]
    fn a_missing_dotenv_and_a_directory_are_nothing() {
        let directory = tempfile::tempdir().unwrap();
        assert!(read_dotenv(directory.path()).unwrap().is_empty());
        fs::create_dir(directory.path().join(".env")).unwrap();
        assert!(read_dotenv(directory.path()).unwrap().is_empty());
    }

    #[test]
    fn a_malformed_dotenv_names_the_line_and_no_secret() {
        let error = dotenv("A=1\nSECRET=two words\n").unwrap_err().to_string();
        assert!(error.contains("malformed in line 2"), "{error}");
        assert!(!error.contains("two words"), "{error}");
        for (text, line) in [
            ("A=\"x\ny\"\nB C=1\nD=1", 3),
            ("A=1\n\n=", 3),
            ("A=1\nB='x\n", 2),
        ] {
            let error = dotenv(text).unwrap_err();
            assert_eq!(error, ConfigError::DotEnvMalformed(line), "{text}");
        }
    }

    #[test]
    fn an_unreadable_dotenv_refuses_the_start() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(".env"), b"A=\xff\n").unwrap();
        let error = read_dotenv(directory.path()).unwrap_err();
        assert!(matches!(error, ConfigError::DotEnvUnreadable(_)));
    }

    fn toml(text: &str) -> Result<toml::Table, ConfigError> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("p.toml");
        fs::write(&path, text).unwrap();
        let given = Given {
            text: "p.toml".to_owned(),
            source: Source::Flag("config"),
        };
        read_toml(&path, &given)
    }

    #[test]
    fn a_malformed_file_names_its_line() {
        assert_eq!(toml("port = 1\n").unwrap()["port"].as_integer(), Some(1));
        let error = toml("port = 1\nhost =\n").unwrap_err().to_string();
        assert!(
            error.starts_with("the file p.toml, line 2, is not valid TOML: "),
            "{error}"
        );
        let error = toml("port = 1\nport = 2\n").unwrap_err().to_string();
        assert!(
            error.starts_with("the file p.toml, line 2, is not valid TOML: "),
            "{error}"
        );
        assert!(!error.contains('\n'));
    }

    #[test]
    fn a_missing_file_names_who_named_it() {
        let given = Given {
            text: "no.toml".to_owned(),
            source: Source::Flag("config"),
        };
        let error = read_toml(Path::new("/nonexistent/no.toml"), &given)
            .unwrap_err()
            .to_string();
        let start =
            "the setting config, given by --config, names the file no.toml, which cannot be read: ";
        assert!(error.starts_with(start), "{error}");
    }
}
