/** Leaves the wording of errors alone: what a message says is no behaviour that a test should pin word by word. */
import { declareValuePlugin, PluginKind } from '@stryker-mutator/api/plugin';

interface AstPath {
  readonly node: { readonly type: string; readonly value?: string; readonly callee?: { readonly name?: string } };
  readonly parentPath: AstPath | null;
  readonly key: string | number | null;
}

/** Functions and classes that take a message; a code or alert beside it is never a literal. */
const MESSAGE_TAKERS =
  /^(?:\w*Error|illegalParameter|unexpected|unexpectedRecord|unexpectedMessage|unsupportedExtension|missingExtension|handshakeFailure|insufficientSecurity|limitExceeded|recordOverflow|badRecordMac|decryptError|unconfirmed|unusablePsk)$/;

/** Names of states stand in messages and nowhere else, but for the one that the endpoint asks for. */
const STATE_NAMES = /^Expect(?!ClientHello$)[A-Z]/;

export const errorTextIgnorer = {
  shouldIgnore({ node, parentPath }: AstPath): string | undefined {
    if (node.type !== 'StringLiteral' && node.type !== 'TemplateLiteral') return undefined;
    if (STATE_NAMES.test(node.value ?? '')) return 'the wording of an error';
    const call = parentPath?.node;
    if (call?.type !== 'CallExpression' && call?.type !== 'NewExpression') return undefined;
    return MESSAGE_TAKERS.test(call.callee?.name ?? '') ? 'the wording of an error' : undefined;
  },
};

export const strykerPlugins = [declareValuePlugin(PluginKind.Ignore, 'error-texts', errorTextIgnorer as never)];
