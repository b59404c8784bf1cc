/* start.S: from the entry of a zImage to C, on ARMv7.
 *
 *     eight nops, a branch, and the header of Documentation/arch/arm/booting.rst: magic at 0x24, where it begins and ends
 *     supervisor mode, interrupts masked, r2 = device tree
 *     machine_map (C) writes the page tables; here they are switched on, and the vectors lead exceptions and interrupts to C
 */

#define STACK 16384
#define SUPERVISOR 0x13
#define MMU_AND_CACHES 0x1005

    .syntax unified
    .arm
    .arch_extension virt

    .section .head, "ax", %progbits
    .globl _start
_start:
    .rept 8
    mov r0, r0
    .endr
    b begin
    .long 0x016f2818                    /* magic */
    .long 0                             /* begin: anywhere */
    .long _image_size                   /* end */

begin:
    ldr sp, =stack_top
    mov r4, r2
    mov r0, r2
    bl machine_map                      /* returns where the table is */
    mcr p15, 0, r0, c2, c0, 0           /* TTBR0 */
    mov r1, #0
    mcr p15, 0, r1, c2, c0, 2           /* TTBCR: short descriptors, one table */
    mov r1, #1
    mcr p15, 0, r1, c3, c0, 0           /* DACR: what the descriptors say counts */
    mcr p15, 0, r1, c8, c7, 0           /* TLBIALL */
    dsb
    isb
    mrc p15, 0, r1, c1, c0, 0           /* SCTLR */
    ldr r2, =MMU_AND_CACHES
    orr r1, r1, r2
    mcr p15, 0, r1, c1, c0, 0
    isb
    ldr r1, =vectors
    mcr p15, 0, r1, c12, c0, 0          /* VBAR */
    isb
    mov r0, r4
    bl machine_start
    b .
    .type _start, %function
    .size _start, . - _start
    .ltorg

    .text
/* hypercall(number, a, b, c, d): the last is on the stack */
    .globl hypercall
hypercall:
    mov r12, r0
    mov r0, r1
    mov r1, r2
    mov r2, r3
    ldr r3, [sp]
    hvc #0xea1
    bx lr

    .globl irq_save
irq_save:
    mrs r0, cpsr
    cpsid i
    bx lr

    .globl irq_restore
irq_restore:
    msr cpsr_c, r0
    bx lr

    .globl machine_idle
machine_idle:
    wfi                                 /* returns when an interrupt is due, masked or not: it is taken here, without a vector */
    b gic_interrupt

    .p2align 5
vectors:
    b .                                 /* reset: never */
    b undefined
    b called
    b prefetch
    b data
    b .
    b interrupted
    b .

/* An exception is not returned from: which, where it was, and the stack kept for it. */
undefined:
    sub r1, lr, #4
    mov r0, #1
    b exception
called:
    sub r1, lr, #4
    mov r0, #2
    b exception
prefetch:
    sub r1, lr, #4
    mov r0, #3
    b exception
data:
    sub r1, lr, #8
    mov r0, #4
exception:
    cpsid i, #SUPERVISOR
    ldr sp, =exception_stack_top
    bl excepted_at
    b .

interrupted:
    sub lr, lr, #4
    srsdb sp!, #SUPERVISOR              /* where to return to goes on the stack that is in use */
    cps #SUPERVISOR
    push {r0-r3, r12, lr}
    mov r0, sp
    and r1, r0, #4                      /* calls want it in steps of 8 */
    sub sp, sp, r1
    push {r1, r2}
    bl gic_interrupt
    pop {r1, r2}
    add sp, sp, r1
    pop {r0-r3, r12, lr}
    rfeia sp!
    .ltorg

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
