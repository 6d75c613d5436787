//! What a caller may do.

use serde::{Deserialize, Serialize};

use super::pattern::Pattern;

/// Most patterns in one list of a grant: each may be tried for each topic of a request.
pub const PATTERNS_MAX: usize = 256;

/// The permissions that there are (SPEC section 12).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Permission {
    /// Take messages of topics, and learn about topics.
    Read,
    /// Publish, and create and describe topics.
    Write,
    /// Both of these, on all topics; delete topics, and end the credentials of others.
    Admin,
}

impl Permission {
    /// Every permission.
    pub const ALL: [Permission; 3] = [Permission::Read, Permission::Write, Permission::Admin];

    /// The permission of this name.
    pub fn parse(name: &str) -> Option<Permission> {
        Permission::ALL
            .into_iter()
            .find(|permission| permission.as_str() == name)
    }

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Permission::Read => "read",
            Permission::Write => "write",
            Permission::Admin => "admin",
        }
    }
}

/// What a credential allows. Nothing, unless it says so.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Grant {
    publish: Topics,
    subscribe: Topics,
    is_admin: bool,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
enum Topics {
    None,
    All,
    Listed(Box<[Pattern]>),
}

impl Grant {
    /// Of what a credential says (SPEC section 12). A list of topics bounds the permission that it
    /// belongs to, `write` or `read`; without `permissions` a list brings its permission with it.
    /// `admin` knows no lists.
    pub fn new(
        permissions: Option<&[Permission]>,
        publish: Option<Vec<Pattern>>,
        subscribe: Option<Vec<Pattern>>,
    ) -> Grant {
        let has = |permission| permissions.map(|all| all.contains(&permission));
        let is_admin = has(Permission::Admin) == Some(true);
        let topics = |permission, listed: Option<Vec<Pattern>>| {
            let is_allowed = is_admin || has(permission).unwrap_or(listed.is_some());
            match listed {
                _ if !is_allowed => Topics::None,
                Some(patterns) if !is_admin => Topics::of(patterns),
                _ => Topics::All,
            }
        };
        Grant {
            publish: topics(Permission::Write, publish),
            subscribe: topics(Permission::Read, subscribe),
            is_admin,
        }
    }

    /// Everything: what callers may do where no credentials are asked for.
    pub fn everything() -> Grant {
        Grant::new(Some(&[Permission::Admin]), None, None)
    }

    /// Whether messages may be put on this topic.
    pub fn may_publish(&self, topic: &str) -> bool {
        self.publish.contains(topic)
    }

    /// Whether messages of this topic may be taken.
    pub fn may_read(&self, topic: &str) -> bool {
        self.subscribe.contains(topic)
    }

    /// Whether there may be a topic on which messages may be put.
    pub fn may_write(&self) -> bool {
        self.publish != Topics::None
    }

    /// Whether there may be a topic whose messages may be taken.
    pub fn may_read_some(&self) -> bool {
        self.subscribe != Topics::None
    }

    /// Whether messages of every topic may be taken.
    pub fn may_read_all(&self) -> bool {
        self.subscribe == Topics::All
    }

    /// Whether it is that of an operator.
    pub fn is_admin(&self) -> bool {
        self.is_admin
    }
}

impl Topics {
    fn of(patterns: Vec<Pattern>) -> Topics {
        if patterns.iter().any(Pattern::is_any) {
            Topics::All
        } else if patterns.is_empty() {
            Topics::None
        } else {
            Topics::Listed(patterns.into())
        }
    }

    fn contains(&self, name: &str) -> bool {
        match self {
            Topics::None => false,
            Topics::All => true,
            Topics::Listed(patterns) => patterns.iter().any(|pattern| pattern.matches(name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Permission::{Admin, Read, Write};

    fn patterns(all: &[&str]) -> Option<Vec<Pattern>> {
        let parsed = all.iter().map(|text| Pattern::parse(text).unwrap());
        Some(parsed.collect())
    }

    #[test]
    fn who_is_granted_nothing_may_do_nothing() {
        for grant in [
            Grant::new(None, None, None),
            Grant::new(Some(&[]), patterns(&["*"]), patterns(&["*"])),
            Grant::new(None, patterns(&[]), patterns(&[])),
        ] {
            assert!(!grant.may_publish("a") && !grant.may_write());
            assert!(!grant.may_read("a") && !grant.may_read_some());
            assert!(!grant.is_admin());
        }
    }

    #[test]
    fn permissions_without_lists_are_for_all_topics() {
        let reader = Grant::new(Some(&[Read]), None, None);
        assert!(reader.may_read_all() && !reader.may_write());
        let writer = Grant::new(Some(&[Write]), None, None);
        assert!(writer.may_publish("a") && !writer.may_read_some());
    }

    #[test]
    fn lists_bound_permissions_and_stand_for_them() {
        let lists = || (patterns(&["in-*"]), patterns(&["out-*", "news"]));
        for permissions in [None, Some(&[Read, Write][..])] {
            let (publish, subscribe) = lists();
            let grant = Grant::new(permissions, publish, subscribe);
            assert!(grant.may_publish("in-1") && !grant.may_publish("news"));
            assert!(grant.may_read("news") && !grant.may_read("in-1"));
            assert!(!grant.may_read_all());
        }
        let (publish, subscribe) = lists();
        let reader = Grant::new(Some(&[Read]), publish, subscribe);
        assert!(!reader.may_publish("in-1"), "the list is no permission");
    }

    #[test]
    fn operators_are_not_bound() {
        let grant = Grant::new(Some(&[Admin]), patterns(&["a"]), patterns(&[]));
        assert!(grant.is_admin() && grant.may_read_all() && grant.may_publish("b"));
        assert_eq!(grant, Grant::everything());
    }
}
