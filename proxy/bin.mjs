#!/usr/bin/env node
// The program's only committed JavaScript: it loads what the build made, or says how to make it.
// A signal must never open a debugger in a process that holds keys, so this comes before everything else.
process.on('SIGUSR1', () => {});

const { existsSync, readFileSync } = await import('node:fs');
const built = new URL('../dist/proxy/cli/main.js', import.meta.url);

if (existsSync(built)) {
  const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));
  const { main } = await import(built.href);
  // A command that ran to its end may have set an exit code of its own.
  const code = await main(process.argv.slice(2), version);
  if (code !== 0) process.exitCode = code;
} else {
  process.stderr.write(
    'qstunnel: ERR_CLI_NOT_BUILT: dist/ is missing: run "npm ci" (with development dependencies) or "npm run build" in the package first\n',
  );
  process.exitCode = 1;
}
