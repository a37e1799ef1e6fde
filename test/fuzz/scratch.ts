/** Where targets of files may write; whoever fuzzes makes and removes it. */
let folder: string | undefined;

export function useScratchFolder(path: string): void {
  folder = path;
}

export function scratchFolder(): string {
  if (folder === undefined) throw new Error('no scratch folder was given');
  return folder;
}
