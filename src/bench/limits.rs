//! What the machine lets this process have.

use super::Outcome;

/// Descriptors of this process besides its connections.
const OWN_DESCRIPTORS: u64 = 64;

/// Sees to it that this process may have so many connections.
///
/// # Errors
/// When the hard limit of descriptors is lower; the sentence says what to do about it.
pub fn allow_descriptors(connections: usize) -> Outcome<()> {
    let wanted = connections as u64 + OWN_DESCRIPTORS;
    let allowed = rlimit::increase_nofile_limit(wanted)?;
    if allowed < wanted {
        let fitting = allowed.saturating_sub(OWN_DESCRIPTORS);
        return Err(format!(
            "{connections} connections need {wanted} descriptors, and {allowed} are allowed: raise the \
             hard limit (`ulimit -Hn`, LimitNOFILE of systemd, /etc/security/limits.conf) or ask for at \
             most {fitting} connections"
        )
        .into());
    }
    Ok(())
}

/// How many connections this process may ask for.
pub fn connections_possible() -> usize {
    let allowed = rlimit::Resource::NOFILE
        .get_hard()
        .unwrap_or(OWN_DESCRIPTORS);
    usize::try_from(allowed.saturating_sub(OWN_DESCRIPTORS)).unwrap_or(usize::MAX)
}
