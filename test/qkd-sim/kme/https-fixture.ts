import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { testPki } from './kme-fixture.ts';

export interface Answer {
  readonly status: number;
  readonly text: string;
  // biome-ignore lint/suspicious/noExplicitAny: what a server answers has no type; tests look into it.
  readonly json: any;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
}

type Sae = 'siteA' | 'siteB' | 'siteA2' | 'siteB2' | 'stranger';

/** One request of an SAE on a connection of its own. */
export async function call(
  port: number,
  sae: Sae,
  path: string,
  options: { readonly method?: string; readonly body?: unknown; readonly rawBody?: string | Buffer } = {},
): Promise<Answer> {
  const { [sae]: credential, ca } = await testPki();
  const body = options.rawBody ?? (options.body === undefined ? undefined : JSON.stringify(options.body));
  return new Promise((resolve, reject) => {
    const outgoing = request(
      {
        host: '127.0.0.1',
        port,
        path,
        method: options.method ?? (body === undefined ? 'GET' : 'POST'),
        cert: credential.certPem,
        key: credential.keyPem,
        ca: ca.certPem,
        agent: false,
        headers: body === undefined ? {} : { 'content-type': 'application/json' },
      },
      (incoming) => {
        const parts: Buffer[] = [];
        incoming.on('data', (part: Buffer) => parts.push(part));
        incoming.on('error', reject);
        incoming.on('end', () => {
          const text = Buffer.concat(parts).toString();
          resolve({
            status: incoming.statusCode ?? 0,
            text,
            json: text === '' ? undefined : JSON.parse(text),
            headers: incoming.headers,
          });
        });
      },
    );
    outgoing.on('error', reject);
    outgoing.end(body);
  });
}

/** curl as a client that nobody here wrote; `undefined` where it isn't installed. */
export async function curlClient(): Promise<
  | {
      /** `forged`: of another CA; `nobody`: without a certificate. Rejects when curl fails. */
      run(
        sae: Sae | 'forged' | 'nobody',
        args: readonly string[],
      ): Promise<{ readonly status: number; readonly text: string }>;
      remove(): Promise<void>;
    }
  | undefined
> {
  const exec = promisify(execFile);
  try {
    await exec('curl', ['--version']);
  } catch {
    return undefined;
  }
  const dir = await mkdtemp(join(tmpdir(), 'qstunnel-test-'));
  const pki = await testPki();
  await writeFile(join(dir, 'ca.pem'), pki.ca.certPem);
  for (const sae of ['siteA', 'siteA2', 'siteB', 'siteB2', 'stranger', 'forged'] as const) {
    await writeFile(join(dir, `${sae}.pem`), pki[sae].certPem);
    await writeFile(join(dir, `${sae}.key`), pki[sae].keyPem, { mode: 0o600 });
  }
  return {
    async run(sae, args) {
      const own = sae === 'nobody' ? [] : ['--cert', join(dir, `${sae}.pem`), '--key', join(dir, `${sae}.key`)];
      const tls = ['--cacert', join(dir, 'ca.pem'), ...own];
      const { stdout } = await exec('curl', ['-sS', '--max-time', '10', '-w', '\n%{http_code}', ...tls, ...args]);
      const end = stdout.lastIndexOf('\n');
      return { status: Number(stdout.slice(end + 1)), text: stdout.slice(0, end) };
    },
    remove: () => rm(dir, { recursive: true, force: true }),
  };
}
