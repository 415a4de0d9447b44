// Energy and forces of the molecule in this folder, from C++. Build and run with the PyTorch that exported it:
//
//   TORCH=$(python -c "import torch; print(torch.__path__[0])")
//   ABI=$(python -c "import torch; print(int(torch.compiled_with_cxx11_abi()))")
//   g++ -std=c++20 -O2 -D_GLIBCXX_USE_CXX11_ABI=$ABI energy_forces.cpp -o energy_forces -I$TORCH/include \
//       -I$TORCH/include/torch/csrc/api/include -L$TORCH/lib -Wl,-rpath,$TORCH/lib -Wl,--no-as-needed \
//       -ltorch -ltorch_cpu -lc10
//   ./energy_forces energy_forces.pt2 positions.txt
//
// positions.txt: x y z of each bead in nm, beads in the order of beads.pdb. Prints the energy in kJ/mol, then a line of
// forces in kJ/mol/nm for each bead.

#include <torch/csrc/inductor/aoti_package/model_package_loader.h>
#include <torch/torch.h>

#include <fstream>
#include <iomanip>
#include <iostream>
#include <vector>

int main(int count, char** words) {
  if (count != 3) {
    std::cerr << "usage: energy_forces energy_forces.pt2 positions.txt\n";
    return 2;
  }
  std::ifstream file(words[2]);
  std::vector<double> numbers;
  for (double x; file >> x;) numbers.push_back(x);
  if (numbers.empty() || numbers.size() % 3 != 0) {
    std::cerr << "expected three numbers for each bead in " << words[2] << "\n";
    return 1;
  }
  at::set_num_threads(1);
  auto x = torch::tensor(numbers, torch::kFloat64).view({1, -1, 3});
  x = (x - x.mean(1, /*keepdim=*/true)).to(torch::kFloat32);  // single precision loses digits far from the origin
  torch::inductor::AOTIModelPackageLoader model(words[1]);
  auto results = model.run({x});  // (1,) and (1, N, 3)
  std::cout << std::setprecision(9) << results[0].item<float>() << "\n";
  auto forces = results[1][0].contiguous();
  for (int64_t i = 0; i < forces.size(0); ++i) {
    for (int k = 0; k < 3; ++k) std::cout << forces[i][k].item<float>() << (k < 2 ? " " : "\n");
  }
}
