/**
 * When a socket holds more than this unsent, whatever feeds it stops reading.
 * Above every `writableHighWaterMark` of node's sockets (16 or 64 KiB), and
 * below the size of one full read, so that a slow reader costs at most about
 * two reads of memory in each direction.
 */
export const CONGESTED_BYTES = 256 * 1024;

/** Reading goes on when no more than this is left unsent: before the kernel's own buffer has run dry. */
export const RELIEVED_BYTES = 64 * 1024;
