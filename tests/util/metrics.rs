//! Reading the Prometheus text format, as far as the server uses it.

/// One sample: its value and what it is labelled with.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Full name, with `_bucket`, `_sum` or `_count`.
    pub name: String,
    /// Labels in the order of the page, unescaped.
    pub labels: Vec<(String, String)>,
    /// The value.
    pub value: f64,
}

impl Sample {
    /// The value of one label.
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels
            .iter()
            .find(|(label, _)| label == name)
            .map(|(_, value)| value.as_str())
    }
}

/// All samples of a page.
///
/// # Panics
///
/// When a line is neither a comment nor a sample.
pub fn samples(page: &str) -> Vec<Sample> {
    page.lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(sample)
        .collect()
}

/// Sum of the samples of `name` that carry all of `labels`.
pub fn sum(page: &str, name: &str, labels: &[(&str, &str)]) -> f64 {
    let wanted = |sample: &Sample| {
        sample.name == name
            && labels
                .iter()
                .all(|(label, value)| sample.label(label) == Some(value))
    };
    samples(page)
        .into_iter()
        .filter(wanted)
        .map(|sample| sample.value)
        .sum()
}

/// The type that a family declares, when it has both HELP and TYPE.
pub fn declared_type<'a>(page: &'a str, family: &str) -> Option<&'a str> {
    let help = format!("# HELP {family} ");
    let kind = format!("# TYPE {family} ");
    page.lines().find(|line| line.starts_with(&help))?;
    page.lines().find_map(|line| line.strip_prefix(&kind))
}

fn sample(line: &str) -> Sample {
    let (series, value) = line
        .rsplit_once(' ')
        .unwrap_or_else(|| panic!("no value: {line}"));
    let value = value
        .parse()
        .unwrap_or_else(|_| panic!("not a number: {line}"));
    let Some((name, rest)) = series.split_once('{') else {
        return Sample {
            name: series.to_owned(),
            labels: Vec::new(),
            value,
        };
    };
    let inner = rest
        .strip_suffix('}')
        .unwrap_or_else(|| panic!("labels do not end: {line}"));
    Sample {
        name: name.to_owned(),
        labels: labels(inner),
        value,
    }
}

fn labels(mut rest: &str) -> Vec<(String, String)> {
    let mut labels = Vec::new();
    while let Some((name, quoted)) = rest.split_once("=\"") {
        let mut value = String::new();
        let mut characters = quoted.char_indices();
        let mut end = quoted.len();
        while let Some((index, character)) = characters.next() {
            match character {
                '"' => {
                    end = index + 1;
                    break;
                }
                '\\' => match characters.next() {
                    Some((_, 'n')) => value.push('\n'),
                    Some((_, escaped)) => value.push(escaped),
                    None => break,
                },
                other => value.push(other),
            }
        }
        labels.push((name.to_owned(), value));
        rest = quoted[end..].trim_start_matches(',');
    }
    labels
}
