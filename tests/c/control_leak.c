/* control_leak.c: loses a block of memory, as the control for the leak checks of the other programs: LeakSanitizer has to
 * end it with an error. */
#include "check.h"

int
main(void)
{
    for (int count = 0; count < 100; count++) { /* One address may linger in a register. */
        void *volatile lost = malloc(64);
        CHECK(lost != NULL);
        lost = NULL;
    }
    puts("ok");
    return 0;
}
