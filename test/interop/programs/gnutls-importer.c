/*
 * GnuTLS with an imported PSK (RFC 9258), which its own programs have no option for: a server that sends back what
 * it receives, one connection after the other, or a client between its terminal and the connection.
 *
 * Arguments: server|client PORT PRIORITY IDENTITY CONTEXT KEY, the last three in hexadecimal. The identity on the
 * wire is made by the library from identity, context, TLS 1.3 and SHA-256.
 */
#include <arpa/inet.h>
#include <gnutls/gnutls.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static gnutls_datum_t identity, key;

static void expect(int result, const char *what)
{
	if (result < 0) {
		fprintf(stderr, "%s: %s\n", what, gnutls_strerror(result));
		exit(1);
	}
}

static gnutls_datum_t from_hex(const char *text)
{
	gnutls_datum_t hex = { (unsigned char *)text, strlen(text) }, bytes;
	expect(gnutls_hex_decode2(&hex, &bytes), "hexadecimal");
	return bytes;
}

static gnutls_datum_t copy(gnutls_datum_t from)
{
	gnutls_datum_t to = { gnutls_malloc(from.size), from.size };
	memcpy(to.data, from.data, from.size);
	return to;
}

static int server_key(gnutls_session_t session, const gnutls_datum_t *offered, gnutls_datum_t *out,
		      gnutls_psk_key_flags *flags)
{
	(void)session;
	if (offered->size != identity.size || memcmp(offered->data, identity.data, identity.size) != 0)
		return GNUTLS_E_INVALID_REQUEST;
	*out = copy(key);
	*flags |= GNUTLS_PSK_KEY_EXT;
	return 0;
}

static int client_key(gnutls_session_t session, gnutls_datum_t *name, gnutls_datum_t *out,
		      gnutls_psk_key_flags *flags)
{
	(void)session;
	*name = copy(identity);
	*out = copy(key);
	*flags |= GNUTLS_PSK_KEY_EXT;
	return 0;
}

static gnutls_session_t handshake(int is_server, const char *priorities, int fd)
{
	gnutls_session_t session;
	expect(gnutls_init(&session, is_server ? GNUTLS_SERVER : GNUTLS_CLIENT), "session");
	if (is_server) {
		gnutls_psk_server_credentials_t credentials;
		expect(gnutls_psk_allocate_server_credentials(&credentials), "credentials");
		gnutls_psk_set_server_credentials_function3(credentials, server_key);
		expect(gnutls_credentials_set(session, GNUTLS_CRD_PSK, credentials), "credentials");
	} else {
		gnutls_psk_client_credentials_t credentials;
		expect(gnutls_psk_allocate_client_credentials(&credentials), "credentials");
		gnutls_psk_set_client_credentials_function3(credentials, client_key);
		expect(gnutls_credentials_set(session, GNUTLS_CRD_PSK, credentials), "credentials");
	}
	expect(gnutls_priority_set_direct(session, priorities, NULL), "priorities");
	gnutls_transport_set_int(session, fd);
	int result;
	do
		result = gnutls_handshake(session);
	while (result < 0 && !gnutls_error_is_fatal(result));
	expect(result, "handshake");
	return session;
}

static void send_all(gnutls_session_t session, const char *bytes, ssize_t length)
{
	for (ssize_t sent = 0; sent < length;) {
		ssize_t more = gnutls_record_send(session, bytes + sent, length - sent);
		expect(more, "send");
		sent += more;
	}
}

/* Returns 0 at the other side's close. */
static int receive(gnutls_session_t session, int is_server)
{
	char buffer[16384];
	do {
		ssize_t length = gnutls_record_recv(session, buffer, sizeof buffer);
		if (length == GNUTLS_E_AGAIN || length == GNUTLS_E_INTERRUPTED)
			continue;
		if (length <= 0)
			return 0;
		if (is_server) {
			send_all(session, buffer, length);
		} else {
			fwrite(buffer, 1, length, stdout);
			fflush(stdout);
		}
	} while (gnutls_record_check_pending(session) > 0);
	return 1;
}

int main(int count, char **arguments)
{
	if (count != 7)
		return 2;
	int is_server = strcmp(arguments[1], "server") == 0;
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(atoi(arguments[2])),
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	gnutls_datum_t external = from_hex(arguments[4]), context = from_hex(arguments[5]);
	key = from_hex(arguments[6]);
	expect(gnutls_psk_format_imported_identity(&external, &context, GNUTLS_TLS1_3, GNUTLS_DIG_SHA256, &identity),
	       "imported identity");
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	if (is_server) {
		if (bind(fd, (struct sockaddr *)&address, sizeof address) != 0 || listen(fd, 8) != 0) {
			perror("listen");
			return 1;
		}
		puts("listening");
		fflush(stdout);
		for (;;) {
			int connection = accept(fd, NULL, NULL);
			gnutls_session_t session = handshake(1, arguments[3], connection);
			while (receive(session, 1)) {
			}
			gnutls_bye(session, GNUTLS_SHUT_WR);
			gnutls_deinit(session);
			close(connection);
		}
	}
	if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
		perror("connect");
		return 1;
	}
	gnutls_session_t session = handshake(0, arguments[3], fd);
	struct pollfd waiting[2] = { { .fd = 0, .events = POLLIN }, { .fd = fd, .events = POLLIN } };
	for (;;) {
		poll(waiting, 2, -1);
		if (waiting[1].revents != 0 && !receive(session, 0))
			break;
		if (waiting[0].revents != 0) {
			char buffer[16384];
			ssize_t length = read(0, buffer, sizeof buffer);
			if (length <= 0)
				break;
			send_all(session, buffer, length);
		}
	}
	gnutls_bye(session, GNUTLS_SHUT_WR);
	return 0;
}
