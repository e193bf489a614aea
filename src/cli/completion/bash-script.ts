/**
 * The script for bash. That of the library needs the package bash-completion, evaluates what is typed, and defines
 * read-only variables, which fails when it is read twice. Where nothing fits, bash completes files.
 */
export const bashScript = `# bash completion for leasehold
_leasehold_completion() {
  local words=("\${COMP_WORDS[@]:0:COMP_CWORD+1}") cword=$COMP_CWORD line
  # A colon is a word of its own for bash: model:tag is one word here.
  if declare -F _get_comp_words_by_ref >/dev/null; then
    _get_comp_words_by_ref -n =: words cword
  fi
  local cur=\${words[cword]}
  COMPREPLY=()
  while IFS= read -r line; do
    line=\${line%%$'\\t'*}
    if [[ $line != :[0-9]* && $line == "$cur"* ]]; then COMPREPLY+=("$line"); fi
  done < <("\${COMP_WORDS[0]}" complete -- "\${words[@]:1:cword}" 2>/dev/null)
  if declare -F __ltrim_colon_completions >/dev/null; then
    __ltrim_colon_completions "$cur"
  fi
}
complete -o default -F _leasehold_completion leasehold
`
