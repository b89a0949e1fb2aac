//! What has to hold on kernels of other machines: run by `cargo xtask kernels` in its guests, which
//! have devices that a development machine's kernel may lack.

#[expect(dead_code, reason = "the end-to-end tests use more of it")]
#[path = "../e2e/site/mod.rs"]
mod site;

mod devices;
mod fact;
mod refusal;
mod verifier;
