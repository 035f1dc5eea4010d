// What kernels know of the model beyond their own node: nodes that belong together do their work in one.
#ifndef KSER_KERNELS_GRAPH_H_
#define KSER_KERNELS_GRAPH_H_

namespace kser {

// The bytes of the model whose nodes are prepared from now on; nullptr if they are not known: then every node is on its own.
void SetGraph(const unsigned char* model);

// Whether tensor `gate` is the LOGISTIC of tensor `value` and read by nothing but a MUL with that: x LOGISTIC(x), known as
// swish. Then MUL does the work of both, and the gate needs no memory.
bool IsSwishGate(int value, int gate);

}  // namespace kser

#endif  // KSER_KERNELS_GRAPH_H_
