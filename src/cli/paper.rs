//! What other programs show of the command line: completions of shells, and the page of `man`.

use clap::{Arg, ArgMatches, Command, value_parser};
use clap_complete::Shell;
use clap_mangen::Man;

use super::{Refusal, command};

/// Subcommands that take the settings of the server, which stand on the page once.
const WITH_SETTINGS: [&str; 3] = ["serve", "check", "healthcheck"];

/// The subcommands.
pub(super) fn commands() -> [Command; 2] {
    let shell = Arg::new("shell").value_name("SHELL").required(true);
    [
        Command::new("completions")
            .about("Print what makes a shell complete the command line")
            .arg(shell.help("Which shell").value_parser(value_parser!(Shell)))
            .after_help(
                "bash: source <(pulsar-proxy completions bash)\n\
                 zsh:  pulsar-proxy completions zsh >\"${fpath[1]}/_pulsar-proxy\"\n\
                 fish: pulsar-proxy completions fish >~/.config/fish/completions/pulsar-proxy.fish",
            ),
        Command::new("man").about("Print the manual page: pulsar-proxy man | man -l -"),
    ]
}

/// The script for a shell.
pub(super) fn completions(matches: &ArgMatches) -> String {
    let shell = matches
        .get_one::<Shell>("shell")
        .copied()
        .unwrap_or(Shell::Bash);
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command(), "pulsar-proxy", &mut script);
    String::from_utf8_lossy(&script).trim_end().to_owned()
}

/// The manual page in roff: the program, and each subcommand below it.
pub(super) fn man() -> Result<String, Refusal> {
    let refuse = |error: std::io::Error| Refusal::Command(error.to_string());
    let mut program = command();
    program.build();
    let mut page = Vec::new();
    Man::new(program.clone())
        .render(&mut page)
        .map_err(refuse)?;
    let mut page = String::from_utf8_lossy(&page).into_owned();
    for subcommand in program.get_subcommands() {
        add(&mut page, subcommand).map_err(refuse)?;
    }
    Ok(page.trim_end().to_owned())
}

fn add(page: &mut String, command: &Command) -> std::io::Result<()> {
    let name = command.get_name();
    let has_settings = WITH_SETTINGS.contains(&name);
    let command = command.clone().mut_args(|argument| {
        // The settings are those that are not shown in short, and all that `serve` has.
        let is_setting = has_settings && (name == "serve" || argument.is_hide_short_help_set());
        let is_help = argument.get_id() == "help";
        argument.hide(is_setting || is_help)
    });
    let title = command.get_bin_name().unwrap_or(name).to_uppercase();
    let has_options = command
        .get_arguments()
        .any(|argument| !argument.is_hide_set());
    let parts: Vec<Command> = command.get_subcommands().cloned().collect();
    let man = Man::new(command);
    let mut sections = Vec::new();
    man.render_description_section(&mut sections)?;
    man.render_synopsis_section(&mut sections)?;
    if has_options {
        man.render_options_section(&mut sections)?;
    }
    man.render_extra_section(&mut sections)?;
    let sections = String::from_utf8_lossy(&sections).replace(".SH ", ".SS ");
    page.push_str(&format!(".SH \"{title}\"\n{sections}"));
    for part in &parts {
        add(page, part)?;
    }
    Ok(())
}
