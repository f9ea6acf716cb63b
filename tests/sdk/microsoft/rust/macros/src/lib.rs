//! `#[recorded::test]` of the stand-in: an async test with a context becomes a plain one.

use proc_macro::{TokenStream, TokenTree};

/// Calls the async function in a runtime of its own.
#[proc_macro_attribute]
pub fn test(_: TokenStream, item: TokenStream) -> TokenStream {
    let name = item.clone().into_iter().skip_while(|token| token.to_string() != "fn").nth(1);
    let Some(TokenTree::Ident(name)) = name else { return item };
    let text = format!(
        "#[test] fn {name}() {{ {item} ::azure_core_test::run({name}(::azure_core_test::TestContext::default())) }}"
    );
    text.parse().unwrap_or(item)
}
