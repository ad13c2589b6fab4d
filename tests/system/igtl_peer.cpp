// A peer made of the OpenIGTLink project's own library, for tests: sends one message of each kind
// to whoever connects, or receives messages and prints what the library understood.
//
//     igtl_peer send             listens on a free port, prints it, serves one client
//     igtl_peer receive PORT N   connects to this computer, receives N messages
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <netinet/in.h>
#include <numeric>
#include <sys/socket.h>
#include <unistd.h>

#include <igtlClientSocket.h>
#include <igtlImageMessage.h>
#include <igtlMath.h>
#include <igtlMessageHeader.h>
#include <igtlPositionMessage.h>
#include <igtlQuaternionTrackingDataMessage.h>
#include <igtlServerSocket.h>
#include <igtlStatusMessage.h>
#include <igtlStringMessage.h>
#include <igtlTrackingDataMessage.h>
#include <igtlTransformMessage.h>

namespace {

const double kStamp = 1722470400.25;

// A quarter turn about z, then (1, 2, 3) mm.
const float kMatrix[4][4] = {{0, -1, 0, 1}, {1, 0, 0, 2}, {0, 0, 1, 3}, {0, 0, 0, 1}};

template <class Message>
void SendTo(igtl::Socket* socket, Message& message, const char* name) {
  igtl::TimeStamp::Pointer stamp = igtl::TimeStamp::New();
  stamp->SetTime(kStamp);
  message->SetDeviceName(name);
  message->SetTimeStamp(stamp);
  message->Pack();
  socket->Send(message->GetPackPointer(), message->GetPackSize());
}

void SendImage(igtl::Socket* socket, int scalar_type, int bytes, int components, const char* name) {
  igtl::ImageMessage::Pointer image = igtl::ImageMessage::New();
  image->SetDimensions(7, 5, 1);
  image->SetSpacing(0.1f, 0.2f, 1.0f);
  image->SetScalarType(scalar_type);
  image->SetNumComponents(components);
  image->SetEndian(igtl::ImageMessage::ENDIAN_LITTLE);
  image->AllocateScalars();
  unsigned char* data = static_cast<unsigned char*>(image->GetScalarPointer());
  std::memset(data, 0, 7 * 5 * bytes * components);
  for (int k = 0; k < 7 * 5; ++k)
    for (int c = 0; c < components; ++c) data[(k * components + c) * bytes] = 3 * k;
  SendTo(socket, image, name);
}

int Send() {
  igtl::ServerSocket::Pointer server = igtl::ServerSocket::New();
  int port = 0;
  for (port = 40000 + getpid() % 20000; server->CreateServer(port) != 0; ++port) {
  }
  std::printf("%d\n", port);
  std::fflush(stdout);
  igtl::Socket::Pointer socket = server->WaitForConnection(20000).GetPointer();
  if (socket.IsNull()) return 1;

  igtl::Matrix4x4 matrix;
  std::memcpy(matrix, kMatrix, sizeof(kMatrix));
  float quaternion[4];
  igtl::MatrixToQuaternion(matrix, quaternion);

  SendImage(socket, igtl::ImageMessage::TYPE_UINT8, 1, 1, "Grey");
  SendImage(socket, igtl::ImageMessage::TYPE_UINT16, 2, 1, "Deep");
  SendImage(socket, igtl::ImageMessage::TYPE_UINT8, 1, 3, "Colour");

  igtl::TransformMessage::Pointer transform = igtl::TransformMessage::New();
  transform->SetMatrix(matrix);
  SendTo(socket, transform, "ProbeToTracker");

  igtl::PositionMessage::Pointer position = igtl::PositionMessage::New();
  position->SetPackType(igtl::PositionMessage::ALL);
  position->SetPosition(1, 2, 3);
  position->SetQuaternion(quaternion);
  SendTo(socket, position, "StylusToTracker");

  igtl::TrackingDataElement::Pointer tool = igtl::TrackingDataElement::New();
  tool->SetName("NeedleToTracker");
  tool->SetType(igtl::TrackingDataElement::TYPE_6D);
  tool->SetMatrix(matrix);
  igtl::TrackingDataMessage::Pointer tools = igtl::TrackingDataMessage::New();
  tools->AddTrackingDataElement(tool);
  SendTo(socket, tools, "Tracker");

  igtl::QuaternionTrackingDataElement::Pointer turned = igtl::QuaternionTrackingDataElement::New();
  turned->SetName("BoneToTracker");
  turned->SetType(igtl::QuaternionTrackingDataElement::TYPE_6D);
  turned->SetPosition(1, 2, 3);
  turned->SetQuaternion(quaternion);
  igtl::QuaternionTrackingDataMessage::Pointer turns = igtl::QuaternionTrackingDataMessage::New();
  turns->AddQuaternionTrackingDataElement(turned);
  SendTo(socket, turns, "Tracker");

  igtl::StringMessage::Pointer text = igtl::StringMessage::New();
  text->SetString("hello");
  SendTo(socket, text, "Note");

  igtl::StatusMessage::Pointer status = igtl::StatusMessage::New();
  status->SetCode(igtl::StatusMessage::STATUS_NOT_READY);
  status->SetSubCode(7);
  status->SetErrorName("Warm-up");
  status->SetStatusString("Wait a minute");
  SendTo(socket, status, "Scanner");

  char byte;  // until the client leaves
  while (socket->Receive(&byte, 1) > 0) {
  }
  socket->CloseSocket();
  return 0;
}

template <class Message>
bool Body(igtl::Socket* socket, igtl::MessageHeader* header, Message& message) {
  message->SetMessageHeader(header);
  message->AllocatePack();
  socket->Receive(message->GetPackBodyPointer(), message->GetPackBodySize());
  return (message->Unpack(1) & igtl::MessageHeader::UNPACK_BODY) != 0;  // 1: check the CRC
}

int Receive(int port, int n_messages) {
  igtl::ClientSocket::Pointer socket = igtl::ClientSocket::New();
  if (socket->ConnectToServer("127.0.0.1", port) != 0) return 1;
  for (int n = 0; n < n_messages;) {
    igtl::MessageHeader::Pointer header = igtl::MessageHeader::New();
    header->InitPack();
    if (socket->Receive(header->GetPackPointer(), header->GetPackSize()) != header->GetPackSize())
      return 2;
    header->Unpack();
    const std::string type = header->GetDeviceType();
    igtl::TimeStamp::Pointer stamp = igtl::TimeStamp::New();
    header->GetTimeStamp(stamp);
    if (type == "STATUS") {  // a sign of life
      socket->Skip(header->GetBodySizeToRead(), 0);
      continue;
    }
    std::printf("%s %s %.6f", type.c_str(), header->GetDeviceName(), stamp->GetTimeStamp());
    if (type == "IMAGE") {
      igtl::ImageMessage::Pointer image = igtl::ImageMessage::New();
      if (!Body(socket, header, image)) return 3;
      int size[3];
      float spacing[3];
      image->GetDimensions(size);
      image->GetSpacing(spacing);
      const unsigned char* data = static_cast<const unsigned char*>(image->GetScalarPointer());
      std::printf(" %d %d %d %.3f %.3f %d", size[0], size[1], size[2], spacing[0], spacing[1],
                  std::accumulate(data, data + image->GetImageSize(), 0));
    } else if (type == "TRANSFORM") {
      igtl::TransformMessage::Pointer transform = igtl::TransformMessage::New();
      if (!Body(socket, header, transform)) return 3;
      igtl::Matrix4x4 matrix;
      transform->GetMatrix(matrix);
      for (int k = 0; k < 12; ++k) std::printf(" %.4f", matrix[k / 4][k % 4]);
    } else if (type == "STRING") {
      igtl::StringMessage::Pointer text = igtl::StringMessage::New();
      if (!Body(socket, header, text)) return 3;
      std::printf(" %s", text->GetString());
    } else {
      socket->Skip(header->GetBodySizeToRead(), 0);
    }
    std::printf("\n");
    ++n;
  }
  socket->CloseSocket();
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 2 && !std::strcmp(argv[1], "send")) return Send();
  if (argc == 4 && !std::strcmp(argv[1], "receive"))
    return Receive(std::atoi(argv[2]), std::atoi(argv[3]));
  return 64;
}
