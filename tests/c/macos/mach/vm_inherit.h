#ifndef STUB_MACH_VM_INHERIT_H
#define STUB_MACH_VM_INHERIT_H
typedef unsigned int vm_inherit_t;
#define VM_INHERIT_NONE ((vm_inherit_t) 2)
#endif
