/* divide.S: 64-bit division by the names and registers of the run-time ABI: r0-r1 by r2-r3; quotient r0-r1, rest r2-r3. */
    .syntax unified
    .arm

.macro division name, function
    .section .text.\name, "ax", %progbits
    .globl \name
\name:
    push {r4, lr}
    sub sp, sp, #16
    add r4, sp, #8
    str r4, [sp]                        /* where the rest goes */
    bl \function
    ldrd r2, r3, [sp, #8]
    add sp, sp, #16
    pop {r4, pc}
.endm

    division __aeabi_uldivmod, divide_64
    division __aeabi_ldivmod, divide_signed_64
