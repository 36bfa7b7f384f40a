//! Hands over to the library.

fn main() -> std::process::ExitCode {
    tars_gitops::main()
}
