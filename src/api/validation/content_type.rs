//! Whether a request says that its body is JSON (SPEC section 3).

/// True for `application/json` and `application/*+json` in any case and with any parameters, and
/// when there is no header or an empty one.
pub(in crate::api) fn is_json(content_type: Option<&[u8]>) -> bool {
    let Some(value) = content_type.filter(|value| !value.is_empty()) else {
        return true;
    };
    let kind = value.split(|byte| *byte == b';').next().unwrap_or(value);
    let kind = kind.trim_ascii();
    let Some((main, subtype)) = kind.split_at_checked(b"application/".len()) else {
        return false;
    };
    main.eq_ignore_ascii_case(b"application/")
        && !subtype.contains(&b'/')
        && (subtype.eq_ignore_ascii_case(b"json") || has_json_suffix(subtype))
}

fn has_json_suffix(subtype: &[u8]) -> bool {
    subtype
        .last_chunk::<5>()
        .is_some_and(|suffix| suffix.eq_ignore_ascii_case(b"+json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_types() {
        for good in [
            "",
            "application/json",
            "Application/JSON; charset=utf-8",
            "application/problem+json",
            "application/json ;x",
            "application/+json",
        ] {
            assert!(is_json(Some(good.as_bytes())), "{good}");
        }
        assert!(is_json(None));
    }

    #[test]
    fn other_types() {
        for bad in [
            "text/plain",
            "text/json",
            "application/x-www-form-urlencoded",
            "application",
            "json",
            ";",
            "application/json/x",
            "application/jsonp",
        ] {
            assert!(!is_json(Some(bad.as_bytes())), "{bad}");
        }
    }
}
