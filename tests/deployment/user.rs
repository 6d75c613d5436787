//! The user in Valkey that the document names: what it may do is what the program does.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use test_util::valkey::redis;
use test_util::{Valkey, ValkeySetup};

/// Commands that the program sends itself.
const COMMANDS: [&str; 17] = [
    "HELLO",
    "AUTH",
    "SELECT",
    "INFO",
    "TIME",
    "WAIT",
    "CLIENT|ID",
    "CLIENT|KILL",
    "CONFIG|GET",
    "EVAL",
    "EVALSHA",
    "GET",
    "SET",
    "SPUBLISH",
    "SSUBSCRIBE",
    "SUNSUBSCRIBE",
    "PING",
];

/// Those that its scripts call.
fn commands_of_scripts() -> BTreeSet<String> {
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src/valkey")];
    let mut commands = BTreeSet::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("the folder can be read") {
            let path = entry.expect("the folder can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|it| it == "lua") {
                let script = fs::read_to_string(path).expect("the script can be read");
                commands.extend(script.split("call('").skip(1).filter_map(called));
            }
        }
    }
    commands
}

/// `GET', …` or `MEMORY', 'USAGE', …`.
fn called(rest: &str) -> Option<String> {
    let (name, rest) = rest.split_once('\'')?;
    let has_parts = matches!(name, "MEMORY" | "XINFO" | "OBJECT");
    let part = rest
        .strip_prefix(", '")
        .and_then(|rest| rest.split_once('\''));
    Some(match part {
        Some((part, _)) if has_parts => format!("{name}|{part}"),
        _ => name.to_owned(),
    })
}

/// What a user may not do, in the words of the store.
fn refusal(store: &Valkey, user: &str, command: &str, argument: &str) -> Option<String> {
    let info: Vec<Vec<redis::Value>> = store.command(&["COMMAND", "INFO", command]);
    let Some(redis::Value::Int(arity)) = info[0].get(1) else {
        panic!("no command {command}: {info:?}");
    };
    let words: Vec<&str> = command.split('|').collect();
    let count = arity.unsigned_abs() as usize - words.len();
    let mut call = ["ACL", "DRYRUN", user].to_vec();
    call.extend(&words);
    call.extend(vec![argument; count]);
    let said: String = store.command(&call);
    (said != "OK").then_some(said)
}

#[test]
fn the_user_of_the_document_may_do_what_is_done_and_with_nothing_else() {
    let rules = super::block("acl");
    let rules = rules.strip_prefix("user ").expect("it is a user");
    let store = ValkeySetup::new().user(rules).start();
    let user = rules.split(' ').next().expect("it has a name");
    let scripted = commands_of_scripts();
    assert!(scripted.contains("XADD"), "{scripted:?}");
    for command in COMMANDS
        .iter()
        .copied()
        .chain(scripted.iter().map(String::as_str))
    {
        let is_script = matches!(command, "EVAL" | "EVALSHA");
        let argument = if is_script { "0" } else { "pulsar:{t}:x" };
        assert_eq!(refusal(&store, user, command, argument), None, "{command}");
    }
    for (command, argument) in [
        ("GET", "other:x"),
        ("SPUBLISH", "other:x"),
        ("FLUSHALL", "pulsar:x"),
        ("KEYS", "pulsar:x"),
        ("CONFIG|SET", "pulsar:x"),
        ("CLIENT|PAUSE", "pulsar:x"),
        ("SHUTDOWN", "pulsar:x"),
    ] {
        assert!(
            refusal(&store, user, command, argument).is_some(),
            "{command} {argument}"
        );
    }
}
