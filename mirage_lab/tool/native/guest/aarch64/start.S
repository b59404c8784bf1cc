/* start.S: from the entry of a Linux Image to C, on aarch64.
 *
 *     64 bytes of header, as the kernel's Documentation/arch/arm64/booting.rst has it; then EL1, interrupts masked, x0 = device tree
 *     machine_map (C) writes the page tables; here they are switched on, and the vectors lead exceptions and interrupts to C
 */

#define STACK 16384
#define DEVICE_AND_NORMAL 0xff00        /* MAIR_EL1: attribute 0 is a device, 1 is memory that may be cached */
#define TABLES 0x200803519              /* TCR_EL1: 39 bits of address, 4 KiB pages, one table, walks cached */
#define MMU_AND_CACHES 0x1005

    .section .head, "ax", @progbits
    .globl _start
_start:
    b begin
    .long 0
    .quad 0x80000                       /* from the begin of memory, which is 2 MiB aligned */
    .quad _image_size
    .quad 0xa                           /* little-endian, pages of 4 KiB, anywhere in memory */
    .quad 0, 0, 0
    .ascii "ARM\x64"
    .long 0

begin:
    adrp x1, stack_top
    add x1, x1, :lo12:stack_top
    mov sp, x1
    mov x19, x0
    bl machine_map                      /* returns where the first table is */
    mov x1, #DEVICE_AND_NORMAL
    msr mair_el1, x1
    ldr x1, =TABLES
    msr tcr_el1, x1
    msr ttbr0_el1, x0
    dsb sy
    tlbi vmalle1
    dsb sy
    isb
    mrs x1, sctlr_el1
    mov x2, #MMU_AND_CACHES
    orr x1, x1, x2
    msr sctlr_el1, x1
    isb
    adrp x1, vectors
    add x1, x1, :lo12:vectors
    msr vbar_el1, x1
    isb
    mov x0, x19
    bl machine_start
    b .
    .type _start, %function
    .size _start, . - _start

    .text
/* hypercall(number, a, b, c, d) */
    .globl hypercall
hypercall:
    mov x16, x0
    mov x0, x1
    mov x1, x2
    mov x2, x3
    mov x3, x4
    hvc #0xea1
    ret

    .globl irq_save
irq_save:
    mrs x0, daif
    msr daifset, #2
    ret

    .globl irq_restore
irq_restore:
    msr daif, x0
    ret

    .globl machine_idle
machine_idle:
    wfi                                 /* returns when an interrupt is due, masked or not: it is taken here, without a vector */
    b gic_interrupt

/* An exception is not returned from: its number, and the stack kept for it. */
.macro excepted number
    .p2align 7
    mov x0, #\number
    b exception
.endm

    .p2align 11
vectors:
    .irp number, 0, 1, 2, 3             /* of this level, on the other stack: never used */
    excepted \number
    .endr
    excepted 4                          /* synchronous */
    .p2align 7                          /* an interrupt */
    sub sp, sp, #176
    stp x0, x1, [sp]
    stp x2, x3, [sp, #16]
    stp x4, x5, [sp, #32]
    stp x6, x7, [sp, #48]
    b interrupted
    .irp number, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
    excepted \number
    .endr

exception:
    adrp x1, exception_stack_top
    add x1, x1, :lo12:exception_stack_top
    mov sp, x1
    mrs x1, elr_el1
    mrs x2, esr_el1
    mrs x3, far_el1
    bl excepted_at
    b .

interrupted:
    stp x8, x9, [sp, #64]
    stp x10, x11, [sp, #80]
    stp x12, x13, [sp, #96]
    stp x14, x15, [sp, #112]
    stp x16, x17, [sp, #128]
    stp x18, x30, [sp, #144]
    mrs x0, elr_el1
    mrs x1, spsr_el1
    stp x0, x1, [sp, #160]
    bl gic_interrupt
    ldp x0, x1, [sp, #160]
    msr elr_el1, x0
    msr spsr_el1, x1
    ldp x18, x30, [sp, #144]
    ldp x16, x17, [sp, #128]
    ldp x14, x15, [sp, #112]
    ldp x12, x13, [sp, #96]
    ldp x10, x11, [sp, #80]
    ldp x8, x9, [sp, #64]
    ldp x6, x7, [sp, #48]
    ldp x4, x5, [sp, #32]
    ldp x2, x3, [sp, #16]
    ldp x0, x1, [sp]
    add sp, sp, #176
    eret

    .section .bss.first, "aw", %nobits
    .p2align 12
    .globl guard
guard:
    .skip 4096                          /* a page that is not there */
    .skip STACK
stack_top:
    .globl exception_guard
exception_guard:
    .skip 4096
    .skip 4096
exception_stack_top:
