//! Whether a launcher has started this process as one of several.

/// How many ranks the launcher of this process has started, where there is one: `mpirun` of Open MPI and of MPICH, and Slurm's `srun`
/// say so in the environment.
pub fn launched_ranks() -> Option<usize> {
    ranks_by(|name| std::env::var(name).ok())
}

/// The variables: of Open MPI, of MPICH and Intel MPI (PMI), and of Slurm's job steps.
const SIZES: [&str; 3] = ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"];

fn ranks_by(variable: impl Fn(&str) -> Option<String>) -> Option<usize> {
    let size = |name| variable(name)?.trim().parse().ok();
    SIZES.into_iter().find_map(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn launchers_are_known_by_their_variables() {
        let of = |pairs: &'static [(&str, &str)]| {
            ranks_by(|name| {
                let pair = pairs.iter().find(|(known, _)| *known == name);
                pair.map(|(_, value)| (*value).to_owned())
            })
        };
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[("OMPI_COMM_WORLD_SIZE", "4")]), Some(4));
        assert_eq!(
            of(&[("PMI_SIZE", "2"), ("SLURM_STEP_NUM_TASKS", "2")]),
            Some(2)
        );
        assert_eq!(of(&[("SLURM_STEP_NUM_TASKS", "16")]), Some(16));
        assert_eq!(of(&[("SLURM_NTASKS", "16")]), None);
        assert_eq!(of(&[("PMI_SIZE", "many")]), None);
    }
}
