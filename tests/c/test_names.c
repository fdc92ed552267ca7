/* test_names.c: names are taken away from the files that they belong to, and from nothing else. */
#include "zpy_internal.h"

#include "check.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define COUNT 40

static int directory;

static int
make(char const *name)
{
    int const fd = openat(directory, name, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
    CHECK(fd >= 0);
    return fd;
}

static bool
is_there(char const *name)
{
    return faccessat(directory, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static struct zpy_name
row_of(char const *name, uint8_t length)
{
    struct zpy_name row = {.directory = directory, .fd = make(name), .lengths = {length, length}};
    CHECK(strlen(name) < sizeof row.name);
    strcpy(row.name, name);
    return row;
}

/* ---- what happens between the checks of a name and its rename ---- */

static void (*before_rename)(char const *name);

int __real_zpy_file_rename(int where, char const *name, char const *new_name);
int __wrap_zpy_file_rename(int where, char const *name, char const *new_name);

int
__wrap_zpy_file_rename(int where, char const *name, char const *new_name)
{
    if (before_rename != NULL) {
        before_rename(name);
    }
    return __real_zpy_file_rename(where, name, new_name);
}

static void
swap(char const *name)
{
    CHECK_EQUAL(renameat(directory, name, directory, "aside"), 0);
    CHECK_EQUAL(renameat(directory, "bystander", directory, name), 0);
}

/* ---- the promises ---- */

static void
test_hidden_and_unlinked(void)
{
    struct zpy_name rows[COUNT];
    for (size_t index = 0; index < COUNT; index++) {
        char name[16];
        (void) snprintf(name, sizeof name, "file-%02zu", index);
        rows[index] = row_of(name, 3);
    }
    for (size_t turn = 0; turn < 2; turn++) {
        CHECK_EQUAL(zpy_names_hide(rows, COUNT, turn), 0);
        for (size_t index = 0; index < COUNT; index++) {
            CHECK_EQUAL(strlen(rows[index].name), 3);
            CHECK(rows[index].renamed == 1 && rows[index].gone == 0 && is_there(rows[index].name));
        }
    }
    CHECK(!is_there("file-00"));
    CHECK_EQUAL(zpy_names_hide(rows, COUNT, 2), 0);            /* No length: nothing to do. */
    CHECK_EQUAL(zpy_names_hide(rows, COUNT, ZPY_NAME_TURNS), 0); /* There are no more turns. */
    CHECK_EQUAL(zpy_names_unlink(rows, COUNT), 0);
    for (size_t index = 0; index < COUNT; index++) {
        CHECK(rows[index].gone == 1 && !is_there(rows[index].name));
        CHECK_EQUAL(close(rows[index].fd), 0);
    }
}

static void
test_longest_name(void)
{
    char name[ZPY_NAME_ROOM];
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    struct zpy_name row = row_of(name, ZPY_NAME_ROOM - 1);
    CHECK_EQUAL(zpy_names_hide(&row, 1, 0), 0);
    CHECK_EQUAL(strlen(row.name), ZPY_NAME_ROOM - 1);
    CHECK_EQUAL(zpy_names_unlink(&row, 1), 0);
    CHECK_EQUAL(close(row.fd), 0);
}

/* All 32 names of one letter are taken: a longer one is. */
static void
test_crowded_length(void)
{
    struct zpy_name rows[33];
    for (size_t index = 0; index < 33; index++) {
        char name[16];
        (void) snprintf(name, sizeof name, "crowd-%02zu", index);
        rows[index] = row_of(name, 1);
    }
    CHECK_EQUAL(zpy_names_hide(rows, 33, 0), 0);
    size_t longer = 0;
    for (size_t index = 0; index < 33; index++) {
        longer += strlen(rows[index].name) > 1;
    }
    CHECK(longer > 0);
    CHECK_EQUAL(zpy_names_unlink(rows, 33), 0);
    for (size_t index = 0; index < 33; index++) {
        CHECK_EQUAL(close(rows[index].fd), 0);
    }
}

/* Another file under the name is neither renamed nor unlinked, and the others go on. */
static void
test_replaced(void)
{
    struct zpy_name rows[2] = {row_of("first", 5), row_of("second", 6)};
    CHECK_EQUAL(renameat(directory, "first", directory, "aside"), 0);
    int const other = make("first");
    CHECK_EQUAL(zpy_names_hide(rows, 2, 0), 1);
    CHECK_EQUAL(rows[0].error, ESTALE);
    CHECK(rows[0].renamed == 0 && rows[0].astray == 0 && rows[1].renamed == 1);
    CHECK_EQUAL(zpy_names_hide(rows, 2, 1), 0); /* It is passed over. */
    CHECK_EQUAL(zpy_names_unlink(rows, 2), 0);
    CHECK(rows[0].gone == 0 && rows[1].gone == 1 && is_there("first"));

    struct zpy_name third = row_of("third", 5);
    CHECK_EQUAL(unlinkat(directory, "third", 0), 0);
    CHECK_EQUAL(zpy_names_unlink(&third, 1), 1);
    CHECK_EQUAL(third.error, ESTALE);
    CHECK_EQUAL(unlinkat(directory, "first", 0), 0);
    CHECK_EQUAL(unlinkat(directory, "aside", 0), 0);
    CHECK_EQUAL(close(rows[0].fd) + close(rows[1].fd) + close(third.fd) + close(other), 0);
}

/* One that takes the name after the check is renamed, and told: it stands under `hidden`. */
static void
test_swapped_in(void)
{
    struct zpy_name row = row_of("victim", 6);
    int const bystander = make("bystander");
    before_rename = swap;
    CHECK_EQUAL(zpy_names_hide(&row, 1, 0), 1);
    before_rename = NULL;
    CHECK_EQUAL(row.error, ESTALE);
    CHECK(row.astray == 1 && row.renamed == 0 && strcmp(row.name, "victim") == 0);
    struct stat left;
    struct stat right;
    CHECK_EQUAL(fstatat(directory, row.hidden, &left, AT_SYMLINK_NOFOLLOW), 0);
    CHECK_EQUAL(fstat(bystander, &right), 0);
    CHECK_EQUAL(left.st_ino, right.st_ino);
    CHECK_EQUAL(zpy_names_unlink(&row, 1), 0);
    CHECK(row.gone == 0 && is_there("aside") && is_there(row.hidden));
    CHECK_EQUAL(unlinkat(directory, "aside", 0), 0);
    CHECK_EQUAL(unlinkat(directory, row.hidden, 0), 0);
    CHECK_EQUAL(close(row.fd) + close(bystander), 0);
}

/* An error is told as it is: here that of a descriptor that is not open. */
static void
test_error(void)
{
    struct zpy_name row = row_of("plain", 5);
    CHECK_EQUAL(close(row.fd), 0);
    CHECK_EQUAL(zpy_names_hide(&row, 1, 0), 1);
    CHECK_EQUAL(row.error, EBADF);
    CHECK(is_there("plain"));
    CHECK_EQUAL(unlinkat(directory, "plain", 0), 0);
}

int
main(void)
{
    CHECK_EQUAL(sodium_init() >= 0, 1);
    CHECK_EQUAL(mkdir("names", 0700), 0);
    directory = open("names", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CHECK(directory >= 0);
    test_hidden_and_unlinked();
    test_longest_name();
    test_crowded_length();
    test_replaced();
    test_swapped_in();
    test_error();
    CHECK_EQUAL(rmdir("names"), 0); /* Nothing is left. */
    CHECK_EQUAL(close(directory), 0);
    puts("ok");
    return 0;
}
